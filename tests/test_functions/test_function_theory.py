"""Rates on a quadratic: closed forms against predictions, predictions against what is measured."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.optim.momentum import Momentum
from ravine.test_functions import theory
from ravine.test_functions.candidates import Candidate, parse_candidates
from ravine.test_functions.problems import make_problem
from ravine.test_functions.quadratic import convergence_rows
from ravine.test_functions.rollout import rollout

LOW, HIGH = 1.0, 40.0
κ = HIGH / LOW


def walked(η: float, γ: float, *, nesterov: bool = False, steps: int = 300) -> np.ndarray:
    candidate = Candidate("own", Momentum, {"momentum": γ, "nesterov": nesterov})
    start = torch.tensor([[-9.0, 1.5]], dtype=torch.float64)
    return rollout(make_problem("quadratic"), candidate, [{"lr": η}], start, steps=steps, seed=0)[
        :, 0, 0
    ].numpy()


def test_gradient_descent_at_its_best_rate_shrinks_as_the_condition_number_says() -> None:
    path = walked(2 / (LOW + HIGH), 0.0)

    assert theory.best_descent(LOW, HIGH) == 2 / (LOW + HIGH)
    # Both directions shrink by the same factor there, so that the distance itself does.
    distance = np.linalg.norm(path, axis=1)
    assert distance[1:200] / distance[:199] == pytest.approx((κ - 1) / (κ + 1), rel=1e-9)
    assert theory.measured_rate(path).rate == pytest.approx((κ - 1) / (κ + 1), rel=0.02)


def test_momentum_at_its_best_shrinks_as_the_root_of_the_condition_number_says() -> None:
    η, γ = theory.best_momentum(LOW, HIGH)
    measured = theory.measured_rate(walked(η, γ))

    # The heavy ball's α* and β* of Goh 2017, in his letters.
    α, β = η * (1 - γ), γ
    assert α == pytest.approx((2 / (math.sqrt(LOW) + math.sqrt(HIGH))) ** 2)
    assert math.sqrt(β) == pytest.approx((math.sqrt(κ) - 1) / (math.sqrt(κ) + 1))
    assert measured.rate == pytest.approx((math.sqrt(κ) - 1) / (math.sqrt(κ) + 1), rel=0.02)
    assert measured.critical


@pytest.mark.parametrize("η", [0.05, 0.3, 0.5])
def test_critical_damping_shrinks_as_k_times_a_power_and_is_fitted_as_that(η: float) -> None:
    γ = theory.critical_momentum(LOW, η=η)
    path = walked(η, γ)[:, :1]
    measured = theory.measured_rate(path)

    # β = (1 − √(αλ))² in Goh's letters.
    assert γ == pytest.approx((1 - math.sqrt(η * (1 - γ) * LOW)) ** 2)
    assert measured.critical
    assert measured.rate == pytest.approx(math.sqrt(γ), rel=0.02)
    # A plain power does not fit: from step 10 to 40 the distance shrinks by less than ρ³⁰.
    assert path[40, 0] / path[10, 0] > 1.5 * math.sqrt(γ) ** 30


@settings(max_examples=15, deadline=None)
@given(
    η=st.floats(0.002, 0.6),
    γ=st.one_of(st.just(0.0), st.floats(0.05, 0.97)),
    nesterov=st.booleans(),
)
def test_what_is_measured_is_what_is_predicted(η: float, γ: float, nesterov: bool) -> None:
    predicted = theory.predicted_rate((LOW, HIGH), η=η, γ=γ, nesterov=nesterov)
    measured = theory.measured_rate(walked(η, γ, nesterov=nesterov))

    assert measured.rate == pytest.approx(predicted, rel=0.02)


def test_the_rows_beside_a_race_hold_theory_and_everyone_who_has_one() -> None:
    raced = [(candidate, 0.04) for candidate in parse_candidates("gd,adam,nesterov")]

    rows = convergence_rows(make_problem("quadratic"), (-9.0, 1.5), raced, seed=0)

    assert [row.name for row in rows[3:]] == ["gd", "nesterov"]
    assert all(abs(row.error) < 0.02 for row in rows)
    assert [row.critical for row in rows[:3]] == [False, True, True]
    assert convergence_rows(make_problem("beale"), (1.0, 1.5), raced, seed=0) == ()
