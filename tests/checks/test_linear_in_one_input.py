"""Networks of several inputs that are linear in one of them while the others are held."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.checks.check_table import EXPLAINS


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Graph(nn.Module):
    """Three layers over nodes (N, T, 4) and their neighbours (N, T, T)."""

    def __init__(self, *, bends: bool) -> None:
        super().__init__()
        self.bends = bends
        self.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 8)])
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x + neighbours @ x)
            x = x.relu() if self.bends else x
        return self.head(x.mean(1))


class Towers(nn.Module):
    """A product of two networks, one of them straight: as of words and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.straight = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8))
        self.bent = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.head(self.straight(x) * self.bent(other))


@pytest.mark.parametrize("bends", [True, False])
def test_layers_over_a_graph_without_anything_between_them_are_linear(bends: bool) -> None:
    given = [
        ((torch.randn(32, 6, 4), (torch.rand(32, 6, 6) < 0.4).float()), torch.arange(32) % 2)
        for _ in range(4)
    ]

    found = ravine.check(Graph(bends=bends), F.cross_entropy, given, learn=False)

    assert ("network-is-linear" in found.codes) is not bends


def test_a_product_of_two_networks_is_not_linear_though_one_of_them_is() -> None:
    given = [((torch.randn(32, 4), torch.randn(32, 6)), torch.arange(32) % 2) for _ in range(4)]

    found = ravine.check(Towers(), F.cross_entropy, given, learn=False)

    assert "network-is-linear" not in found.codes


def test_labels_that_a_straight_network_cannot_tell_are_not_charged() -> None:
    assert {"labels-unrelated", "labels-undecided"} <= set(EXPLAINS["network-is-linear"])
