"""Healthy networks whose parts take turns: by step, by chance or by example."""

from collections.abc import Iterator

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


def batches(count: int = 8) -> list[Batch]:
    centres = torch.randn(5, 20)
    labels = torch.randint(0, 5, (count, 64))
    return [(centres[y] + 0.5 * torch.randn(64, 20), y) for y in labels]


class Heads(nn.Module):
    """A body, its head, and others that the loop alone calls."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU())
        self.head = nn.Linear(32, 5)
        self.others = nn.ModuleList(nn.Linear(32, 3) for _ in range(others))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x))
        return y


@pytest.mark.parametrize("others", [1, 4])
@pytest.mark.parametrize("is_shared", [True, False])
def test_heads_that_take_turns_have_a_gradient(others: int, *, is_shared: bool) -> None:
    model, calls = Heads(others), [0]
    weights = [list(model.head.parameters()), *(list(one.parameters()) for one in model.others)]
    if is_shared:
        optimizers = [torch.optim.Adam(model.parameters(), 2e-3)]
    else:
        optimizers = [torch.optim.Adam([*model.body.parameters(), *weights[0]], 2e-3)]
        optimizers += [torch.optim.SGD(one, 0.05) for one in weights[1:]]

    def step(batch: Batch) -> Tensor:
        turn = calls[0] % (others + 1)
        calls[0] += 1
        features = model.body(batch[0])
        if turn:
            loss = F.cross_entropy(model.others[turn - 1](features), batch[1] % 3)
        else:
            loss = F.cross_entropy(model.head(features), batch[1])
        for one in optimizers:
            one.zero_grad()
        loss.backward()
        for one in optimizers:
            one.step()
        return loss.detach()

    found = ravine.check(model, F.cross_entropy, batches(), optimizers[0], step=step)

    assert not {"no-gradient", "zero-gradient"} & set(found.codes)


def test_a_head_that_never_has_its_turn_is_found() -> None:
    model = Heads(2)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)

    def step(batch: Batch) -> Tensor:
        features = model.body(batch[0])
        loss = F.cross_entropy(model.head(features), batch[1])
        loss = loss + F.cross_entropy(model.others[0](features), batch[1] % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    one = ravine.check(model, F.cross_entropy, batches(), optimizer, step=step)[0]

    assert (one.code, one.layer) == ("no-gradient", "others.1")


class Dropped(nn.Module):
    """Blocks that are left out by chance in training."""

    def __init__(self, kept: float) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(20, 32), nn.Linear(32, 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32))
            for _ in range(4)
        )
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.first(x)
        for block in self.blocks:
            if not self.training or float(torch.rand(())) < self.kept:
                y = y + block(y)
        z: Tensor = self.last(y)
        return z


class Experts(nn.Module):
    """The best of several networks for each example, by a gate."""

    def __init__(self, count: int, *, is_called_on_none: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(20, count)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5)) for _ in range(count)
        )
        self.is_called_on_none = is_called_on_none

    def forward(self, x: Tensor) -> Tensor:
        share, chosen = self.gate(x).softmax(1).max(1)
        out = torch.zeros(len(x), 5)
        for number, expert in enumerate(self.experts):
            rows = chosen == number
            if self.is_called_on_none or bool(rows.any()):
                out[rows] = expert(x[rows]) * share[rows, None]
        return out


@pytest.mark.parametrize("seed", [0, 1, 5])
@pytest.mark.parametrize("kind", ["dropped", "rarely kept", "experts", "experts on none"])
def test_layers_that_few_examples_reach_are_no_fault(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = {
        "dropped": lambda: Dropped(0.6),
        "rarely kept": lambda: Dropped(0.2),
        "experts": lambda: Experts(6, is_called_on_none=False),
        "experts on none": lambda: Experts(6, is_called_on_none=True),
    }[kind]()

    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    found = ravine.check(model, F.cross_entropy, batches(), optimizer)

    assert not {"no-gradient", "zero-gradient"} & set(found.codes)
