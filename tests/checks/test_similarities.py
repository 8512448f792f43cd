"""Similarities of normalised outputs, whose temperature is on the right or the wrong side."""

from collections.abc import Iterator

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


class Pairs(nn.Module):
    """Similarities (N, N) of two views of N examples (N, 2, 20)."""

    def __init__(self, scale: float, *, is_learnt: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16))
        start = torch.tensor(scale).log()
        self.scale = nn.Parameter(start) if is_learnt else start

    def forward(self, views: Tensor) -> Tensor:
        one, two = (F.normalize(self.encoder(views[:, k]), dim=1) for k in (0, 1))
        return self.scale.exp() * one @ two.T


@pytest.mark.parametrize(
    ("scale", "is_learnt", "is_limited"),
    [(10.0, False, False), (0.1, False, True), (1.0, True, False), (5.0, False, False)],
)
def test_similarities_that_are_multiplied_by_the_temperature_are_limited(
    scale: float, is_learnt: bool, is_limited: bool
) -> None:
    x = torch.randn(16, 64, 1, 20)
    given = [(one + 0.3 * torch.randn(64, 2, 20), torch.arange(64)) for one in x]

    found = ravine.check(Pairs(scale, is_learnt=is_learnt), F.cross_entropy, given, learn=False)

    assert ("logits-limited" in found.codes) is is_limited


class Towers(nn.Module):
    """Similarities (N, N) of people (N, 16) and films (N, 20), by a network each."""

    def __init__(self, scale: float, *, is_normalised: bool) -> None:
        super().__init__()
        self.scale, self.is_normalised = scale, is_normalised
        self.people = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 12))
        self.films = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 12))

    def forward(self, person: Tensor, film: Tensor) -> Tensor:
        one, other = self.people(person), self.films(film)
        if self.is_normalised:
            one, other = F.normalize(one, dim=1), F.normalize(other, dim=1)
        return self.scale * one @ other.T


@pytest.mark.parametrize(
    ("scale", "is_normalised", "is_limited"),
    [(1.0, True, True), (0.07, True, True), (14.0, True, False), (0.1, False, False)],
)
def test_similarities_of_two_networks_without_a_temperature_are_limited(
    scale: float, is_normalised: bool, is_limited: bool
) -> None:
    model = Towers(scale, is_normalised=is_normalised)
    given = [((torch.randn(64, 16), torch.randn(64, 20)), torch.arange(64)) for _ in range(4)]

    found = ravine.check(model, F.cross_entropy, given, learn=False)

    assert ("logits-limited" in found.codes) is is_limited
