"""Moments against scipy's integrals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from ravine.propagation.gaussian_moments import (
    function_moments,
    hermite_shares,
    maximum_moments,
    rectifier_moments,
)


def expected(function, mean: float, σ: float) -> float:  # type: ignore[no-untyped-def]
    kink = -mean / σ
    return sum(
        quad(lambda z: function(mean + σ * z) * norm.pdf(z), low, high, epsabs=1e-12)[0]
        for low, high in ((-12, kink), (kink, 12))
    )


@settings(max_examples=25, deadline=None)
@given(mean=st.floats(-2, 2), σ=st.floats(0.1, 3), slope=st.sampled_from([0.0, 0.01, 0.3]))
def test_a_rectifiers_moments_are_its_integrals(mean: float, σ: float, slope: float) -> None:
    def φ(x: float) -> float:
        return x if x > 0 else slope * x

    def derivative(x: float) -> float:
        return 1.0 if x > 0 else slope

    found = rectifier_moments(torch.tensor([mean]).double(), torch.tensor([σ**2]).double(), slope)
    first = expected(φ, mean, σ)
    second = expected(lambda x: φ(x) ** 2, mean, σ)

    assert float(found.mean) == pytest.approx(first, abs=1e-6)
    assert float(found.var) == pytest.approx(second - first**2, abs=1e-6)
    assert float(found.slope) == pytest.approx(expected(derivative, mean, σ), abs=1e-6)
    square = expected(lambda x: derivative(x) ** 2, mean, σ)
    assert float(found.slope_square) == pytest.approx(square, abs=1e-6)
    assert float(found.along) == pytest.approx(
        expected(lambda x: x * derivative(x), mean, σ), abs=1e-6
    )


@settings(max_examples=25, deadline=None)
@given(
    mean=st.floats(-2, 2),
    σ=st.floats(0.1, 3),
    γ=st.floats(-0.9, 0.9),
    slope=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_a_skew_variable_counts_to_first_order(
    mean: float, σ: float, γ: float, slope: float
) -> None:
    def under(function) -> float:  # type: ignore[no-untyped-def]
        def weighed(x: float) -> float:
            z = (x - mean) / σ
            return function(x) * (1 + γ / 6 * (z**3 - 3 * z))

        return expected(weighed, mean, σ)

    def φ(x: float) -> float:
        return x if x > 0 else slope * x

    of = [torch.tensor([value]).double() for value in (mean, σ**2, γ * σ**3)]
    found = rectifier_moments(of[0], of[1], slope, third=of[2])
    first = under(φ)
    second = under(lambda x: (φ(x) - first) ** 2)
    third = under(lambda x: (φ(x) - first) ** 3)

    assert float(found.mean) == pytest.approx(first, abs=1e-6)
    assert float(found.var) == pytest.approx(max(second, 0), abs=1e-5)
    assert float(found.third) == pytest.approx(third, abs=1e-4)
    above = min(max(under(lambda x: float(x > 0)), 0), 1)
    assert float(found.slope) == pytest.approx(slope + (1 - slope) * above, abs=1e-6)


def test_a_function_of_a_skew_variable_by_quadrature() -> None:
    of = [torch.tensor([value]).double() for value in (0.3, 0.8, 0.4)]
    found = function_moments(torch.tanh, of[0], of[1], third=of[2])
    σ = math.sqrt(0.8)

    def weighed(x: float, power: int) -> float:
        z = (x - 0.3) / σ
        return np.tanh(x) ** power * (1 + 0.4 / σ**3 / 6 * (z**3 - 3 * z))

    first, second = (expected(lambda x, k=k: weighed(x, k), 0.3, σ) for k in (1, 2))
    assert float(found.mean) == pytest.approx(first, abs=1e-5)
    assert float(found.var) == pytest.approx(second - first**2, abs=1e-5)


def test_tanh_by_quadrature_is_its_integral() -> None:
    found = function_moments(torch.tanh, torch.tensor([0.4]).double(), torch.tensor([0.8]).double())
    first = expected(np.tanh, 0.4, math.sqrt(0.8))

    assert float(found.mean) == pytest.approx(first, abs=1e-6)
    second = expected(lambda x: np.tanh(x) ** 2, 0.4, math.sqrt(0.8))
    assert float(found.var) == pytest.approx(second - first**2, abs=1e-6)
    slope = expected(lambda x: 1 / np.cosh(x) ** 2, 0.4, math.sqrt(0.8))
    assert float(found.slope) == pytest.approx(slope, abs=1e-6)


def test_the_correlation_behind_relu_is_the_arc_cosine_kernel() -> None:
    ρ = 0.6
    kernel = (math.sqrt(1 - ρ**2) + ρ * (math.pi - math.acos(ρ))) / (2 * math.pi)
    wanted = (kernel - 1 / (2 * math.pi)) / (0.5 - 1 / (2 * math.pi))
    shares = hermite_shares(torch.relu, torch.zeros(1).double(), torch.ones(1).double())

    assert sum(s * ρ**k for k, s in enumerate(shares[:-1], 1)) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("ρ", [0.0, 0.5, 0.9])
def test_the_greatest_of_nine_is_that_of_draws(ρ: float) -> None:
    chance = np.random.default_rng(0)
    common, own = chance.normal(size=(200_000, 1)), chance.normal(size=(200_000, 9))
    draws = np.maximum((math.sqrt(ρ) * common + math.sqrt(1 - ρ) * own).max(1) - 0.5, 0)
    found = maximum_moments(
        torch.relu,
        torch.full((1,), -0.5).double(),
        torch.ones(1).double(),
        count=9,
        correlation=ρ,
    )

    assert float(found.mean) == pytest.approx(draws.mean(), rel=0.01)
    assert float(found.var) == pytest.approx(draws.var(), rel=0.02)
