"""Networks of several inputs, of which one makes no difference."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def tower(inputs: int = 12) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))


class Pair(nn.Module):
    """Whether two vectors are alike; `twice` encodes the first one twice."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.twice, self.tower, self.head = twice, tower(), nn.Linear(16, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = self.tower(first), self.tower(first if self.twice else second)
        return self.head(torch.cat([(a - b).abs(), a * b], 1))


class Distance(nn.Module):
    """The distance of two vectors, or of the first from itself."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.twice, self.tower = twice, tower()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        apart = F.cosine_similarity(self.tower(first), self.tower(first if self.twice else second))
        return torch.stack([1 - apart, apart], 1)


class Stacked(nn.Module):
    """The same of vectors (N, 2, 12)."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.pair = Pair(twice=twice)

    def forward(self, both: Tensor) -> Tensor:
        return self.pair(both[:, 0], both[:, 1])


class Questions(nn.Module):
    """The same of words (N, 6), and how many they are."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.words, self.pair = nn.Embedding(30, 12), Pair(twice=twice)

    def forward(self, first: Tensor, second: Tensor, _lengths: Tensor, _theirs: Tensor) -> Tensor:
        return self.pair(self.words(first).mean(1), self.words(second).mean(1))


class Conditioned(nn.Module):
    """A network whose second input acts by a gate that begins as 0, or is lost."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.lost, self.body, self.by, self.head = twice, tower(), tower(5), nn.Linear(8, 2)
        self.gate = nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        given = self.by(condition) * (0 if self.lost else 1)
        return self.head(self.body(x) + self.gate * given)


def vectors() -> tuple[Tensor, Tensor]:
    return torch.randn(32, 12), torch.randn(32, 12)


def words() -> tuple[Tensor, ...]:
    lengths = (torch.randint(3, 7, (32,)), torch.randint(3, 7, (32,)))
    return (torch.randint(1, 30, (32, 6)), torch.randint(1, 30, (32, 6)), *lengths)


KINDS: dict[str, tuple[Callable[..., nn.Module], Callable[[], Any]]] = {
    "pair": (Pair, vectors),
    "named": (Pair, lambda: dict(zip(("first", "second"), vectors(), strict=True))),
    "distance": (Distance, vectors),
    "stacked": (Stacked, lambda: torch.stack(vectors(), 1)),
    "words": (Questions, words),
    "conditioned": (Conditioned, lambda: (vectors()[0], torch.randn(32, 5))),
}


@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_input_that_makes_no_difference_is_named(kind: str, twice: bool) -> None:
    network, inputs = KINDS[kind]
    given = [(inputs(), torch.arange(32) % 2) for _ in range(4)]

    found = ravine.check(network(twice=twice), F.cross_entropy, given, learn=False)

    assert ("inputs-ignored" in found.codes) is twice


def test_a_part_of_an_image_is_no_pair_where_it_is_a_copy() -> None:
    x = torch.randn(4, 32, 1, 6, 6).expand(-1, -1, 2, -1, -1).clone()
    grey = nn.Sequential(nn.Conv3d(1, 4, (1, 6, 6)), nn.Flatten(), nn.Linear(4, 2))

    class Grey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = grey

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images[:, :1, None])

    found = ravine.check(
        Grey(), F.cross_entropy, [(one, torch.arange(32) % 2) for one in x], learn=False
    )

    assert "inputs-ignored" not in found.codes
