"""The terms of a loss, and terms that keep a network from its targets: beside small ones."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.checks.loss_terms import terms_of


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


LOSSES: dict[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "one": (1, F.mse_loss),
    "scaled": (2, lambda o, y: 0.5 * F.mse_loss(o, y) + o.abs().mean() / 3 - 1),
    "subtracted": (2, lambda o, y: F.mse_loss(o, y) - 0.1 * o.std()),
    "turned": (2, lambda o, y: 1 - (o * y).mean() + o.square().sum() * 1e-3),
    "by example": (2, lambda o, y: ((o - y).square().sum(1) + 0.1 * o.norm(dim=1)).mean()),
    "summed": (3, lambda o, y: sum((k * F.l1_loss(o, y) for k in (1, 2, 3)), torch.zeros(()))),
    "elementwise": (1, lambda o, y: (o.square() - o * y + o.exp()).mean()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_terms_have_the_gradient_of_the_loss(name: str) -> None:
    count, loss = LOSSES[name]
    out, y = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    terms = terms_of(loss, out, y)
    (whole,) = torch.autograd.grad(loss(out, y), out)
    parts = [torch.autograd.grad(t, out, retain_graph=True)[0] for t in terms]

    assert len(terms) == count
    assert all(t.dim() == 0 for t in terms)
    torch.testing.assert_close(torch.stack(parts).sum(0), whole)


class Coder(nn.Module):
    """A variational autoencoder that draws in both modes."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(24, 8), nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 24))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log = self.into(x).chunk(2, 1)
        return self.out(mean + torch.randn_like(mean) * (0.5 * log).exp()), mean, log


def coded(reduce: Callable[[Tensor], Tensor]) -> tuple[str, ...]:
    def loss(out: Any, x: Tensor) -> Tensor:
        back, mean, log = out
        return F.mse_loss(back, x) + reduce(0.5 * (mean.square() + log.exp() - 1 - log))

    low = torch.randn(2, 24)
    batches = [(x, x) for x in (torch.randn(8, 64, 2) @ low).unbind()]
    return ravine.check(Coder(), loss, batches, learn=False).codes


def test_a_divergence_that_is_summed_beside_a_mean_drowns_it() -> None:
    assert coded(Tensor.sum)[:1] == ("task-drowned",)


def test_a_divergence_of_the_same_scale_is_no_fault_and_neither_is_what_it_draws() -> None:
    assert coded(lambda kl: 0.1 * kl.sum(1).mean() / 24) == ()


def test_a_small_penalty_of_the_features_drowns_nothing() -> None:
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(24, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            features = self.body(x)
            return self.head(features.relu()), features

    def check(factor: float) -> tuple[str, ...]:
        weights = torch.randn(24, 3)
        batches = [(x, (x @ weights).argmax(1)) for x in torch.randn(8, 64, 24).unbind()]
        return ravine.check(
            Features(),
            lambda out, y: F.cross_entropy(out[0], y) + factor * out[1].square().sum(),
            batches,
            learn=False,
        ).codes

    assert "task-drowned" not in check(1e-4)
    assert "task-drowned" in check(1.0)
