"""Numbers of examples that meet each other inside a loss by accident, and pairs that are meant."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs))


def rewards(count: int = 4) -> list[tuple[Tensor, Tensor]]:
    """Returns inputs (64, 8) and what each of four actions brings (64, 4)."""
    weights = torch.randn(8, 4)
    return [(x, (x @ weights).sigmoid()) for x in torch.randn(count, 64, 8).unbind()]


def codes(model: nn.Module, loss: Loss, batches: Any, **given: Any) -> tuple[str, ...]:
    return ravine.check(model, loss, batches, learn=False, **given).codes


def policy(logits: Tensor, gains: Tensor, *, is_column: bool, ratio: bool = False) -> Tensor:
    """A policy gradient, plain or clipped as PPO does, whose gains are (64,) or (64, 1)."""
    choice = torch.distributions.Categorical(logits=logits)
    action = choice.sample()
    gain = gains.gather(1, action[:, None]) - gains.mean()
    gain = gain if is_column else gain[:, 0]
    log = choice.log_prob(action)
    if not ratio:
        return -(log * gain).mean()
    moved = (log - log.detach() + 0.1).exp()
    return -torch.min(moved * gain, moved.clamp(0.8, 1.2) * gain).mean()


@pytest.mark.parametrize("is_column", [True, False])
@pytest.mark.parametrize("ratio", [True, False])
def test_a_policy_whose_gains_are_a_column_is_found(is_column: bool, ratio: bool) -> None:
    def loss(out: Tensor, gains: Tensor) -> Tensor:
        return policy(out, gains, is_column=is_column, ratio=ratio)

    found = [codes(network(4), loss, rewards()) for _ in range(3)]

    assert all(("targets-broadcast" in one) == is_column for one in found)
    assert all("loss-of-wrong-sign" not in one for one in found)


@pytest.mark.parametrize("is_column", [True, False])
def test_a_step_whose_gains_are_a_column_is_found(is_column: bool) -> None:
    model = network(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        optimizer.zero_grad()
        loss = policy(model(batch[0]), batch[1], is_column=is_column)
        loss.backward()
        optimizer.step()
        return loss.detach()

    found = codes(model, F.mse_loss, rewards(), optimizer=optimizer, step=step)

    assert ("targets-broadcast" in found) == is_column


def weighed(out: Tensor, y: Tensor) -> Tensor:
    """Of examples whose weights are a column."""
    return (F.cross_entropy(out, y[:, 0].long(), reduction="none") * y[:, 1:]).mean()


def added(out: Tensor, y: Tensor) -> Tensor:
    """A mean of sums is the sum of the means."""
    return (F.cross_entropy(out, y[:, 0].long(), reduction="none") + 0.01 * out[:, :1]).mean()


@pytest.mark.parametrize(("loss", "is_found"), [(weighed, True), (added, False)])
def test_weights_in_a_column_are_found_and_terms_are_not(loss: Loss, is_found: bool) -> None:
    batches = [
        (x, torch.stack([(x[:, 0] > 0).float(), torch.rand(64)], 1))
        for x in torch.randn(4, 64, 8).unbind()
    ]

    assert ("targets-broadcast" in codes(network(2), loss, batches)) == is_found


def ranked(out: Tensor, y: Tensor) -> Tensor:
    """Scores that each lie above those of the others by a margin, whose order is drawn."""
    near, far = out[:, 0], out[:, 1]
    return F.relu(0.1 + far[:, None] - near).mean() + 0 * y.sum()


def ordered(out: Tensor, y: Tensor) -> Tensor:
    """The logistic loss of all pairs of one column, by the order of their targets."""
    apart = out[:, :1] - out[:, 0]
    return (F.softplus(-apart) * (y[:, :1] > y[:, 0])).mean()


def unmasked(out: Tensor, y: Tensor) -> Tensor:
    """The differences of one tensor with itself, beside an error."""
    return F.mse_loss(out, y) - 0.01 * (out[:, :1] - out[:, 0]).square().mean()


def discrepancy(out: Tensor, y: Tensor) -> Tensor:
    """The mean discrepancy of outputs and targets, by a kernel over all pairs."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squares = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
        return (-squares / 2).exp().mean()

    return kernel(out, out) + kernel(y, y) - 2 * kernel(out, y)


def drawn_together(out: Tensor, y: Tensor) -> Tensor:
    """A softmax over the batch of how near outputs lie to targets."""
    return F.cross_entropy(out @ y.T, torch.arange(len(out)))


def soft(out: Tensor, y: Tensor) -> Tensor:
    return -(y.softmax(1) * out.log_softmax(1)).sum(1).mean()


def mapped(out: Tensor, y: Tensor) -> Tensor:
    """Each column by itself, by a transformation whose tensors end with it."""
    met = torch.vmap(lambda a, b: (a * b[:, None]).mean(), in_dims=1)(out, y)
    return F.mse_loss(out, y) + met.mean()


def test_tensors_of_a_transformation_end_no_check() -> None:
    assert "loss-of-wrong-sign" not in codes(network(4), mapped, rewards())


@pytest.mark.parametrize("loss", [ranked, ordered, unmasked, discrepancy, drawn_together, soft])
def test_pairs_that_are_meant_are_left_alone(loss: Loss) -> None:
    assert "targets-broadcast" not in codes(network(4), loss, rewards())
