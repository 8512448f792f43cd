import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.optim import Momentum
from ravine.optim.lr_range_test import range_test


def test_the_range_test_leaves_everything_bitwise_and_finds_a_rate_that_learns() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    model.eval()
    optimizer = Momentum(model.parameters(), 0.1)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    optimizer.step()

    class Batch:
        def __init__(self, seed: int) -> None:
            chance = torch.Generator().manual_seed(seed)
            self.images = torch.randn(32, 8, generator=chance)
            self.targets = self.images[:, :3].argmax(1)

    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    state = torch.get_rng_state()
    found = range_test(model, optimizer, nn.functional.cross_entropy, map(Batch, range(100)))
    after = (model.state_dict(), optimizer.state_dict())
    assert str(before) == str(after)
    for name, value in before[0].items():
        assert torch.equal(value, after[0][name])
    assert torch.equal(state, torch.get_rng_state())
    assert not model.training
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert 0.01 < found.suggestion < 30
    model.train()
    losses = []
    for step in range(150):
        for group in optimizer.param_groups:
            group["lr"] = found.suggestion * (1 - step / 150)
        batch = Batch(200 + step)
        loss = nn.functional.cross_entropy(model(batch.images), batch.targets)
        loss.backward()
        optimizer.step(clear=True)
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


class Quadratic(nn.Module):
    """½ Σ a_j (w_j − t_j)², curvatures a; one frozen part and one buffer that is not saved."""

    curvatures = torch.tensor([10.0, 3.0, 1.0, 0.3])

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((4,), 2.0))
        self.frozen = nn.BatchNorm1d(4).eval()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return (self.curvatures * (self.w - t) ** 2).sum() / 2


class Noise:
    """The minimum that one batch sees."""

    def __init__(self, seed: int) -> None:
        self.images = torch.randn(4, generator=torch.Generator().manual_seed(seed))
        self.targets = torch.zeros(())


@pytest.mark.parametrize("seed", range(0, 5000, 1000))
def test_the_suggestion_on_a_quadratic_is_a_stable_rate_within_reach_of_the_limit(
    seed: int,
) -> None:
    model = Quadratic()
    optimizer = Momentum(model.parameters(), 0.1, 0.0)  # w shrinks where lr < 2/10
    found = range_test(
        model, optimizer, lambda value, _: value, map(Noise, range(seed, seed + 100))
    )  # from 1e-4 to 10
    least = found.losses.index(min(found.losses[10:]))
    assert found.suggestion == pytest.approx(found.rates[least] / 4)
    assert 0.02 < found.suggestion < 0.2
    assert found.rates[-1] < 10.0  # stopped where the loss exploded
    assert model.training
    assert not model.frozen.training
    assert float(model.seen) == 0.0
    assert torch.equal(model.w.detach(), torch.full((4,), 2.0))
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_range_test_without_a_range_is_refused() -> None:
    model = Quadratic()
    with pytest.raises(SettingError, match="low"):
        range_test(model, Momentum(model.parameters(), 0.0), lambda value, _: value, [Noise(0)])


def test_steps_that_nobody_could_see_in_the_loss_take_no_gradient() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    labels = torch.arange(64) % 4
    images = torch.randn(64, 1, 4, 4) + labels.view(-1, 1, 1, 1)
    batches = [SimpleNamespace(images=images, targets=labels)] * 40
    optimizer, steps, weights = torch.optim.SGD(model.parameters(), lr=0.1), [], []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        steps.append(logits.requires_grad)
        weights.append(model[1].weight.detach().clone())
        return nn.functional.cross_entropy(logits, targets)

    found = range_test(model, optimizer, loss, batches, low=1e-6, high=10.0, steps=40)

    unseen = steps.index(True, 1)  # the first step measures how far a step leads
    assert 5 < unseen < 30
    assert steps[1:unseen] == [False] * (unseen - 1)
    assert all(steps[unseen:])
    first = found.losses[0]
    assert max(abs(value - first) for value in found.losses[:unseen]) < 0.01 * first
    assert min(found.losses) < 0.9 * first
