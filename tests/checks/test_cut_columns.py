"""Derivatives of a network that its loss trains: with a graph of their own, and without."""

import pytest
import torch
from torch import Tensor, nn

import ravine


class Decay(nn.Module):
    """A function of time, its slope beside it: u' = −u and u(0) = 1 (Raissi et al., 2019)."""

    def __init__(self, *, keeps_graph: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
        self.keeps_graph = keeps_graph

    def forward(self, time: Tensor) -> Tensor:
        with torch.enable_grad():
            t = time.clone().requires_grad_()
            u = self.layers(t)
            (slope,) = torch.autograd.grad(
                u.sum(), t, create_graph=self.keeps_graph, retain_graph=True
            )
            return torch.cat([slope + u.detach() if not self.keeps_graph else slope + u,
                              self.layers(torch.zeros_like(t))], 1)  # fmt: skip


class WithItsInput(nn.Module):
    """What it was given beside what it makes of it, as a coupling layer has it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layer(x)], 1)


def squared(out: Tensor, wanted: Tensor) -> Tensor:
    return (out - wanted).square().mean(0).sum()


def codes(model: nn.Module) -> tuple[str, ...]:
    torch.manual_seed(0)
    wanted = torch.tensor([0.0, 1.0]).expand(64, 2)
    batches = [(torch.rand(64, 1), wanted) for _ in range(8)]
    return ravine.check(model, squared, batches, learn=False).codes


@pytest.mark.parametrize("keeps_graph", [False, True])
def test_a_derivative_without_a_graph_is_named(keeps_graph: bool) -> None:
    torch.manual_seed(0)
    assert ("no-gradient" in codes(Decay(keeps_graph=keeps_graph))) is not keeps_graph


def test_what_is_passed_through_needs_no_gradient() -> None:
    torch.manual_seed(0)
    assert "no-gradient" not in codes(WithItsInput())
