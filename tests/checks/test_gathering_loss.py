"""Losses of views that draw all outputs to one point, and those that keep examples apart."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Views = tuple[Tensor, ...]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Twins(nn.Module):
    """Predictions and projections (N, 16) of two views (N, 20) each."""

    def __init__(self, *, whitens: bool = False) -> None:
        super().__init__()
        norm = [nn.BatchNorm1d(16, affine=False)] if whitens else []
        self.encoder = nn.Sequential(
            nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 16), *norm
        )
        self.predictor = nn.Identity() if whitens else nn.Linear(16, 16)

    def forward(self, first: Tensor, second: Tensor) -> Views:
        a, b = self.encoder(first), self.encoder(second)
        return self.predictor(a), self.predictor(b), a, b


def together(out: Views) -> Tensor:
    p, q, a, b = out
    return -(F.cosine_similarity(p, b) + F.cosine_similarity(q, a)).mean() / 2


def near(out: Views) -> Tensor:
    return F.mse_loss(out[2], out[3])


def detached(out: Views) -> Tensor:
    return together((*out[:2], out[2].detach(), out[3].detach()))


def contrasted(out: Views) -> Tensor:
    alike = F.normalize(out[2], dim=1) @ F.normalize(out[3], dim=1).T
    return F.cross_entropy(alike / 0.2, torch.arange(len(alike)))


def spread(out: Views) -> Tensor:
    return near(out) + sum((F.relu(1 - z.std(0)).mean() for z in out[2:]), start=torch.zeros(()))


def triplet(out: Views) -> Tensor:
    return F.triplet_margin_loss(out[2], out[3], out[3].roll(1, 0))


def views() -> list[tuple[Views, Tensor]]:
    x = torch.randn(4, 64, 20)
    pairs = [tuple(one + 0.5 * torch.randn(2, 64, 20)) for one in x]
    return [(pair, torch.arange(64)) for pair in pairs]


@pytest.mark.parametrize("loss", [together, near])
def test_views_that_nothing_keeps_apart_are_named(loss: object) -> None:
    found = ravine.check(Twins(), lambda out, _: loss(out), views(), learn=False)  # type: ignore[operator]

    assert "outputs-collapsed" in found.codes


@pytest.mark.parametrize("loss", [detached, contrasted, spread, triplet])
def test_views_that_something_keeps_apart_are_left_alone(loss: object) -> None:
    found = ravine.check(Twins(), lambda out, _: loss(out), views(), learn=False)  # type: ignore[operator]

    assert "outputs-collapsed" not in found.codes


class Both(nn.Module):
    """Projections of both views in one tensor (2N, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.twins = Twins()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.cat(self.twins(first, second)[2:])


@pytest.mark.parametrize("kind", ["near", "contrasted", "a place of its own"])
def test_views_in_one_tensor_are_asked_too(kind: str) -> None:
    def loss(out: Tensor, _: Tensor) -> Tensor:
        if kind == "a place of its own":  # one answer is the best for all
            return (out - torch.arange(16)).square().mean()
        a, b = out.chunk(2)
        return near((a, b, a, b)) if kind == "near" else contrasted((a, b, a, b))

    found = ravine.check(Both(), loss, views(), learn=False)

    assert ("outputs-collapsed" in found.codes) == (kind == "near")


def test_outputs_that_a_norm_keeps_apart_are_left_alone() -> None:
    found = ravine.check(Twins(whitens=True), lambda out, _: near(out), views(), learn=False)

    assert "outputs-collapsed" not in found.codes


def test_a_step_that_detaches_what_the_declared_loss_does_not_is_left_alone() -> None:
    model = Twins()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step(batch: tuple[Views, Tensor]) -> None:
        optimizer.zero_grad()
        detached(model(*batch[0])).backward()
        optimizer.step()

    found = ravine.check(
        model, lambda out, _: together(out), views(), optimizer, step=step, learn=False
    )

    assert "outputs-collapsed" not in found.codes
