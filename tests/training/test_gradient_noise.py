"""The noise of a gradient, where it is known."""

import math

import pytest
import torch
from torch import Tensor, nn

from ravine.training.gradient_noise import GradientNoise, gradient_noise


class Point(nn.Module):
    """Its loss ½|w − x|² has the gradient w − x."""

    def __init__(self, at: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(at)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.w - x


class HalfSquare(nn.Module):
    def forward(self, away: Tensor, _: Tensor) -> Tensor:
        return 0.5 * away.square().sum(1).mean()


def test_signal_and_trace_are_those_of_the_distribution() -> None:
    torch.manual_seed(0)
    deviations = torch.tensor([0.5, 2.0, 1.0, 0.1])
    at = torch.tensor([1.0, -2.0, 0.5, 0.0])
    model = Point(at.clone())
    images = deviations * torch.randn(40_000, 4)
    batches = [(part, part) for part in images.split(8)]
    found = gradient_noise(model, HalfSquare(), batches)
    assert found.signal == pytest.approx(float(at.square().sum()), rel=0.02)
    assert found.trace == pytest.approx(float(deviations.square().sum()), rel=0.02)
    assert found.ratio(32) == pytest.approx(math.sqrt(5.26 / 5.25 / 32), rel=0.03)
    assert model.w.grad is None
    assert model.seen == 0


def test_without_a_gradient_all_is_noise() -> None:
    assert GradientNoise(signal=-0.1, trace=1.0).ratio(64) == math.inf
    assert GradientNoise(signal=1.0, trace=0.0).ratio(64) == 0.0
