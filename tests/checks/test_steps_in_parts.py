"""Steps in parts and in another order; networks that keep a state; losses that want 1 and −1."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def classes(count: int = 6, size: int = 32) -> list[Batch]:
    centres = 3 * torch.randn(4, 16)
    labels = [torch.randint(4, (size,)) for _ in range(count)]
    return [(centres[y] + torch.randn(size, 16), y) for y in labels]


def codes(model: nn.Module, batches: Any, loss: Any, *rest: Any, **given: Any) -> Any:
    return ravine.check(model, loss, batches, *rest, **{"learn": False} | given).codes


def last_alone(model: nn.Module, x: Tensor, y: Tensor) -> None:
    loss = torch.zeros(())
    for inputs, labels in zip(x.split(8), y.split(8), strict=True):
        loss = F.cross_entropy(model(inputs), labels)
    loss.backward()


def summed(model: nn.Module, x: Tensor, y: Tensor) -> None:
    parts = zip(x.split(8), y.split(8), strict=True)
    sum(F.cross_entropy(model(inputs), labels) / 4 for inputs, labels in parts).backward()  # type: ignore[union-attr]


@pytest.mark.parametrize(("how", "drops"), [(last_alone, True), (summed, False)])
def test_a_backward_pass_behind_the_loop_over_parts_is_named(
    how: Callable[..., None], drops: bool
) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        how(model, *batch)
        optimizer.step()

    assert (
        "gradients-dropped" in codes(model, classes(), F.cross_entropy, optimizer, step=step)
    ) == drops


def test_an_optimizer_that_steps_before_the_backward_pass_of_its_call_is_no_dead_end() -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(batch: Batch) -> None:
        optimizer.step()
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()

    assert "no-gradient" not in codes(model, classes(), F.cross_entropy, optimizer, step=step)


class Reader(nn.Module):
    """A recurrent layer that begins from what the last batch left, or from nothing."""

    def __init__(self, *, keeps: bool) -> None:
        super().__init__()
        self.keeps, self.kept = keeps, None
        self.rows, self.out = nn.GRU(4, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        begun = self.kept if self.kept is not None and self.kept.shape[1] == len(x) else None
        states, last = self.rows(x.reshape(len(x), 4, 4), begun)
        self.kept = last.detach() if self.keeps else None
        return self.out(states[:, -1])


@pytest.mark.parametrize("keeps", [True, False])
def test_a_state_that_is_kept_from_pass_to_pass_is_told_from_chance(keeps: bool) -> None:
    found = ravine.check(Reader(keeps=keeps), F.cross_entropy, classes(), learn=False)
    assert any("keeps something" in one.cause for one in found) == keeps


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_a_hinge_that_wants_1_and_minus_1_is_named_of_columns_too(low: float) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    batches = [(x, torch.where(y > 1, 1.0, low)[:, None]) for x, y in classes()]
    found = codes(model, batches, lambda out, y: F.relu(1 - out * y).mean())
    assert ("loss-ignores-examples" in found) == (low == 0)


def turned(x: Tensor) -> Tensor:
    return -x


@pytest.mark.parametrize("is_own", [True, False])
def test_inputs_that_a_step_changes_far_are_a_note_where_targets_are_their_own(
    is_own: bool,
) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        y = batch[1] if is_own else (batch[1] + 2) % 4
        F.cross_entropy(model(turned(batch[0])), y).backward()
        optimizer.step()

    found = ravine.check(model, F.cross_entropy, classes(), optimizer, step=step, learn=False)
    severities = [one.severity for one in found if one.code == "step-trains-something-else"]
    assert severities == ["note" if is_own else "warning"]
