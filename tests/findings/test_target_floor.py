"""The least loss that targets allow, against closed forms, draws and torch's own losses."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import psi, roots_jacobi
from torch import nn

from ravine.data.mixing import mix
from ravine.findings.target_floor import (
    expected_floor,
    floor_of_softmax,
    known_floor,
    measured_floor,
    mixing_shares,
)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 4.0])
def test_mixups_floor_is_the_digamma_difference(alpha: float) -> None:
    # E[h(λ)] = ψ(2α+1) − ψ(α+1) for λ ~ Beta(α, α); of K classes 1 − 1/K of the pairs differ.
    closed = float(psi(2 * alpha + 1) - psi(alpha + 1))

    assert expected_floor(10, mixup=alpha) == pytest.approx(0.9 * closed, rel=2e-4)


@given(st.floats(0.02, 20) | st.just(0.5))
def test_the_nodes_of_mixup_are_scipys(alpha: float) -> None:
    ((shares, weights),) = mixing_shares(alpha, 0.0)

    at, expected = roots_jacobi(64, alpha - 1, alpha - 1)
    np.testing.assert_allclose(shares, (1 + at) / 2, atol=1e-9)
    np.testing.assert_allclose(weights, expected / expected.sum(), atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2, 0.9])
def test_smoothings_floor_is_the_entropy_of_the_target(smoothing: float) -> None:
    target = torch.full((10,), smoothing / 10, dtype=torch.float64)
    target[3] += 1 - smoothing
    entropy = float(torch.distributions.Categorical(target).entropy())

    assert expected_floor(10, label_smoothing=smoothing) == pytest.approx(entropy, abs=1e-9)


@pytest.mark.parametrize(
    ("mixup", "cutmix", "smoothing"), [(0.4, 0.0, 0.1), (0.0, 1.0, 0.0), (0.2, 1.0, 0.2)]
)
def test_the_floor_is_the_mean_entropy_of_targets_as_batches_have_them(
    mixup: float, cutmix: float, smoothing: float
) -> None:
    images = torch.zeros(64, 1, 32, 32)
    chance = torch.Generator().manual_seed(0)
    means = []
    for seed in range(600):
        labels = torch.randint(0, 10, (64,), generator=chance)
        _, shares = mix(images, labels, 10, mixup_alpha=mixup, cutmix_alpha=cutmix, seed=seed)
        target = (1 - smoothing) * shares.double() + smoothing / 10
        means.append(float(torch.special.entr(target).sum(1).mean()))
    mean = sum(means) / len(means)
    error = float(torch.tensor(means).std()) / math.sqrt(len(means))

    floor = expected_floor(10, label_smoothing=smoothing, mixup=mixup, cutmix=cutmix)

    assert abs(floor - mean) < 4 * error


def test_a_loss_is_measured_where_its_least_is_known() -> None:
    labels, output = torch.arange(8), torch.zeros(8, 10)
    soft = 0.7 * F.one_hot(labels, 10).float() + 0.3 * F.one_hot(labels.flip(0), 10).float()
    entropy = -0.7 * math.log(0.7) - 0.3 * math.log(0.3)
    smoothed = measured_floor(nn.CrossEntropyLoss(label_smoothing=0.2), output, labels)

    assert smoothed == pytest.approx(expected_floor(10, label_smoothing=0.2), rel=1e-3)
    assert measured_floor(F.cross_entropy, output, soft) == pytest.approx(entropy, rel=1e-3)
    assert measured_floor(F.cross_entropy, output, labels) == pytest.approx(0, abs=1e-3)
    assert measured_floor(F.mse_loss, output, torch.randn(8, 10)) == pytest.approx(0, abs=1e-6)
    assert measured_floor(F.cross_entropy, output, labels, alike=True) == pytest.approx(
        math.log(8), rel=1e-3
    )


def test_a_search_ends_at_a_loss_that_is_low_enough() -> None:
    calls = []

    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        calls.append(out)
        return F.cross_entropy(out, y)

    labels = torch.arange(40) % 10
    whole = measured_floor(loss, torch.zeros(40, 10), labels)
    used = len(calls)
    found = measured_floor(loss, torch.zeros(40, 10), labels, enough=2.0)

    assert whole is not None
    assert found is not None
    assert whole < 0.1 < found <= 2.0
    assert len(calls) - used < used


def test_nothing_is_assumed_where_there_is_no_least_loss_or_no_tensor() -> None:
    labels, output = torch.arange(8), torch.zeros(8, 10)

    assert measured_floor(F.nll_loss, output, labels) is None
    assert measured_floor(lambda o, t: -F.cross_entropy(o, t), output, labels) is None
    assert measured_floor(lambda o, t: F.cross_entropy(o["x"], t), output, labels) is None
    assert measured_floor(F.cross_entropy, {"x": output}, labels) is None
    assert measured_floor(lambda o, t: o.detach().sum(), output, labels) is None


def test_measuring_leaves_what_a_loss_learns_alone() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(output * self.scale, labels)

    loss = Scaled()
    measured_floor(loss, torch.zeros(8, 10), torch.arange(8))

    assert loss.scale.grad is None


def slope_of(loss: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, logits, retain_graph=True)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
def test_targets_are_read_off_the_gradient(dtype: torch.dtype, smoothing: float) -> None:
    chance = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 10, generator=chance).to(dtype).requires_grad_()
    loss = F.cross_entropy(logits.float(), torch.arange(64) % 10, label_smoothing=smoothing)

    floor = float(floor_of_softmax(logits.detach(), slope_of(loss, logits), loss.detach()))

    wide = 1e-4 if dtype == torch.float32 else 0.03
    assert floor == pytest.approx(expected_floor(10, label_smoothing=smoothing), abs=wide)


def test_what_is_no_mean_cross_entropy_of_these_logits_is_not_believed() -> None:
    chance = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(64, 10, generator=chance)).requires_grad_()
    labels = torch.arange(64) % 10
    weights = torch.linspace(0.1, 2, 10)
    plain = F.cross_entropy(logits, labels)
    for loss, recorded in (
        (F.mse_loss(logits, F.one_hot(labels, 10).float()), None),
        (F.cross_entropy(logits, labels, weight=weights), None),
        (F.cross_entropy(logits, labels, reduction="sum"), None),
        (plain / 4, plain),  # one of four passes that add up
        (plain * 1024, plain),  # of a GradScaler
    ):
        given = loss if recorded is None else recorded
        found = floor_of_softmax(logits.detach(), slope_of(loss, logits), given.detach())
        assert bool(found.isnan())


def test_a_floor_is_known_where_most_steps_show_one() -> None:
    assert known_floor([]) == 0.0
    assert known_floor([0.8, 0.9, 1.0, math.nan]) == pytest.approx(0.9)
    assert known_floor([0.8, math.nan]) == 0.0
