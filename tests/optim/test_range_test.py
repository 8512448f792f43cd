import copy
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ravine.core.errors import SettingError
from ravine.optim import Momentum, RescaledMuon
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


def _linear() -> tuple[nn.Sequential, Momentum, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
    inputs = torch.randn(640, 20)
    labels = (inputs @ torch.randn(20, 5)).argmax(1)
    return model, Momentum(model.parameters(), 0.1), inputs, labels


def test_pairs_of_a_loader_are_taken_and_its_random_numbers_put_back() -> None:
    model, optimizer, inputs, labels = _linear()
    own = torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(inputs, labels), 32, shuffle=True, generator=own)
    before, of_python, of_numpy = own.get_state(), random.getstate(), np.random.get_state()

    found = range_test(model, optimizer, nn.functional.cross_entropy, loader)

    assert 0.1 < found.suggestion < 10
    assert torch.equal(own.get_state(), before)
    assert random.getstate() == of_python
    assert str(np.random.get_state()) == str(of_numpy)


def test_several_inputs_of_a_batch_are_arguments_of_the_network() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return (one + other) * self.weight

    model = Sum()
    batch = (torch.ones(4, 3), torch.ones(4, 3), torch.zeros(4, 3))
    found = range_test(model, Momentum(model.parameters(), 0.1), F.mse_loss, [batch])
    assert found.losses[0] == 4.0


@pytest.mark.parametrize("count", [5, 12, 20])
def test_fewer_batches_than_steps_are_gone_through_again(count: int) -> None:
    model, optimizer, inputs, labels = _linear()
    batches = list(zip(inputs.split(32), labels.split(32), strict=True))
    found = range_test(model, optimizer, nn.functional.cross_entropy, batches[:count])
    assert found.losses[-1] > 2 * min(found.losses) or found.rates[-1] == pytest.approx(10.0)
    assert 0.3 < found.suggestion < 10


def test_an_iterator_that_ends_is_refused_with_the_remedy() -> None:
    model, optimizer, inputs, labels = _linear()
    batches = zip(inputs.split(32)[:12], labels.split(32)[:12], strict=True)
    with pytest.raises(SettingError, match=r"ended after 12 of the 80 steps .*DataLoader itself"):
        range_test(model, optimizer, nn.functional.cross_entropy, batches)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert not optimizer.state


@pytest.mark.parametrize(
    ("batches", "says"),
    [
        ([], "empty"),
        (torch.zeros(3), "iterable of"),
        ([{"x": torch.zeros(2, 20)}], "pass pairs"),
        ([("a", "b")], "without a tensor"),
    ],
)
def test_batches_of_another_form_are_refused(batches: Any, says: str) -> None:
    model, optimizer, _, _ = _linear()
    with pytest.raises(SettingError, match=says):
        range_test(model, optimizer, nn.functional.cross_entropy, batches)


def test_steps_of_two_kinds_keep_the_ratio_of_their_rates() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    made = RescaledMuon.arranged(model, [{"params": list(model.parameters()), "lr": 0.1}])
    optimizer = RescaledMuon(made)
    seen: list[list[float]] = []
    optimizer.register_step_pre_hook(
        lambda o, *_: seen.append([group["lr"] for group in o.param_groups])
    )
    chance = torch.Generator().manual_seed(1)
    x = torch.randn(32, 8, generator=chance)
    range_test(model, optimizer, F.cross_entropy, [(x, x[:, :3].argmax(1))] * 20, steps=20)
    assert len(seen) > 5
    assert all(other == pytest.approx(14 * filters) for filters, other in seen)
