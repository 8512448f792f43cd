"""Language models whose targets were not moved by one, and what copies on purpose."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

KINDS, LENGTH = 12, 16


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Recurrent(nn.Module):
    """A GRU over tokens, in one direction or both; logits by position, classes last."""

    def __init__(self, *, both: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(KINDS, 16)
        self.mix = nn.GRU(16, 16, batch_first=True, bidirectional=both)
        self.head = nn.Linear(32 if both else 16, KINDS)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.mix(self.embed(x))[0])
        return y


class Convolved(nn.Module):
    """Causal convolutions; logits with the classes in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(KINDS, 16)
        self.layers = nn.ModuleList(nn.Conv1d(16, 16, 3) for _ in range(2))
        self.head = nn.Conv1d(16, KINDS, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).transpose(1, 2)
        for layer in self.layers:
            y = F.relu(layer(F.pad(y, (2, 0))))
        z: Tensor = self.head(y)
        return z


class Repeated(nn.Module):
    """An autoencoder: the last state of one GRU is what another one writes the sequence from."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(KINDS, 16)
        self.reads, self.writes = (nn.GRU(16, 16, batch_first=True) for _ in range(2))
        self.head = nn.Linear(16, KINDS)

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.reads(self.embed(x))
        y: Tensor = self.head(self.writes(last[-1][:, None].expand(-1, x.shape[1], -1))[0])
        return y


def texts(*, padded: bool = False) -> list[Tensor]:
    found = [torch.randint(1, KINDS, (32, LENGTH + 1)) for _ in range(4)]
    for text in found if padded else ():
        text[:, -5:] = 0
    return found


def flat(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, 1), y.flatten(), ignore_index=0)


def shifted_inside(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out[:, :-1].reshape(-1, KINDS), y[:, 1:].reshape(-1))


@pytest.mark.parametrize("padded", [False, True])
def test_tokens_that_are_their_own_targets_are_named(*, padded: bool) -> None:
    same = [(x[:, :-1], x[:, :-1]) for x in texts(padded=padded)]
    following = [(x[:, :-1], x[:, 1:]) for x in texts(padded=padded)]

    for model, loss in ((Recurrent(), flat), (Convolved(), F.cross_entropy)):
        (one,) = ravine.check(model, loss, same, learn=False).of("critical")
        assert one.code == "label-in-input"
        assert "label-in-input" not in ravine.check(model, loss, following, learn=False).codes


def test_sequences_that_are_copied_or_moved_by_the_loss_are_left_in_peace() -> None:
    same = [(x[:, :-1], x[:, :-1]) for x in texts()]

    for model, loss in ((Recurrent(), shifted_inside), (Repeated(), flat)):
        assert "label-in-input" not in ravine.check(model, loss, same, learn=False).codes


def test_noisy_tokens_are_restored() -> None:
    found = [(torch.where(torch.rand(x.shape) < 0.3, 0, x), x) for x in texts()]

    assert "label-in-input" not in ravine.check(Recurrent(), flat, found, learn=False).codes
