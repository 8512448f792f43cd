"""Distances that a loss makes grow without limit: triplets and pairs without a hinge."""

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


def gap(anchor: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """Returns (N,): how much farther from the anchors (N, D) what is alike lies."""
    return (anchor - near).square().sum(1) - (anchor - far).square().sum(1)


def triplets(*, turned: bool = False) -> list[tuple[Tensor, Tensor]]:
    found = []
    for _ in range(4):
        anchor = torch.randn(64, 12)
        near, far = anchor + 0.3 * torch.randn(64, 12), torch.randn(64, 12)
        parts = (anchor, far, near) if turned else (anchor, near, far)
        found.append((torch.stack(parts, 1), torch.zeros(64)))
    return found


def embedder() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8))


def codes(loss: Callable[[Any, Any], Tensor], batches: Any, model: nn.Module) -> tuple[str, ...]:
    return ravine.check(model, loss, batches, learn=False).codes


def test_a_gap_of_distances_without_a_hinge_has_no_bound() -> None:
    def bare(out: Tensor, _: Tensor) -> Tensor:
        return gap(*out.unbind(1)).mean()

    assert codes(bare, triplets(), embedder()) == ("loss-unbounded",)
    assert codes(bare, triplets(turned=True), embedder()) == ("loss-of-wrong-sign",)


def test_hinges_and_normalised_outputs_are_bounded() -> None:
    def hinged(out: Tensor, _: Tensor) -> Tensor:
        return F.relu(gap(*out.unbind(1)) + 1).mean()

    def on_a_sphere(out: Tensor, _: Tensor) -> Tensor:
        return gap(*F.normalize(out, dim=2).unbind(1)).mean()

    assert codes(hinged, triplets(), embedder()) == ()
    assert codes(on_a_sphere, triplets(), embedder()) == ()


class Both(nn.Module):
    """Embeds a pair, each by the same network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = embedder()

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(one), self.net(other)


@pytest.mark.parametrize("margin", [None, 1.0])
def test_pairs_that_differ_are_driven_apart_to_a_margin(margin: float | None) -> None:
    def contrast(out: tuple[Tensor, Tensor], alike: Tensor) -> Tensor:
        apart = (out[0] - out[1]).square().sum(1)
        far = -apart if margin is None else F.relu(margin - apart)
        return torch.where(alike > 0, apart, far).mean()

    batches = []
    for _ in range(4):
        one, alike = torch.randn(64, 12), (torch.rand(64) < 0.5).float()
        other = torch.where(alike[:, None] > 0, one + 0.3 * torch.randn(64, 12), one.roll(1, 0))
        batches.append(((one, other), alike))

    found = codes(contrast, batches, Both())

    assert found == (("loss-unbounded",) if margin is None else ())


def test_a_squared_error_that_is_subtracted_is_of_the_wrong_sign() -> None:
    batches = [(x, x[:, :8]) for x in torch.randn(4, 64, 12).unbind()]

    found = codes(lambda out, y: -F.mse_loss(out, y), batches, embedder())

    assert "loss-of-wrong-sign" in found
    assert "loss-unbounded" not in found
