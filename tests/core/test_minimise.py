"""L-BFGS against scipy's on Rosenbrock's valley, and against the solution of a quadratic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from ravine.core.minimise import minimise


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    return float(optimize.rosen(x)), optimize.rosen_der(x)


def test_the_valleys_floor_is_found_in_about_scipys_evaluations() -> None:
    start = np.full(10, -1.2)
    calls = []

    def counted(x: np.ndarray) -> tuple[float, np.ndarray]:
        calls.append(x)
        return rosenbrock(x)

    found = minimise(counted, start, iterations=500, least_gain=1e-15, least_gradient=1e-8)
    theirs = optimize.minimize(
        rosenbrock, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-8}
    )

    np.testing.assert_allclose(found.x, np.ones(10), atol=1e-6)
    assert found.value < 1e-12
    assert len(calls) < 2 * theirs.nfev


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_a_quadratics_minimum_is_that_of_its_equations(seed: int, size: int) -> None:
    chance = np.random.default_rng(seed)
    root = chance.normal(size=(size, size)) + 2 * np.eye(size)
    matrix, right = root @ root.T + np.eye(size), chance.normal(size=size)

    found = minimise(
        lambda x: (float(x @ matrix @ x / 2 - right @ x), matrix @ x - right),
        np.zeros(size),
        iterations=300,
        least_gain=0,
        least_gradient=1e-9,
    )

    np.testing.assert_allclose(found.x, np.linalg.solve(matrix, right), atol=1e-5)


def test_no_more_evaluations_are_made_than_given_and_the_lowest_point_is_kept() -> None:
    seen = []

    def counted(x: np.ndarray) -> tuple[float, np.ndarray]:
        seen.append(rosenbrock(x)[0])
        return rosenbrock(x)

    found = minimise(counted, np.full(4, -1.2), iterations=50, evaluations=7)

    assert len(seen) == 7
    assert found.value == min(seen)


def test_a_value_that_is_not_a_number_ends_the_search_where_it_stands() -> None:
    found = minimise(lambda x: (np.nan, np.full(2, np.nan)), np.ones(2), iterations=5)
    assert found.x.tolist() == [1.0, 1.0]

    def beyond(x: np.ndarray) -> tuple[float, np.ndarray]:
        return (np.inf if x[0] > 0.5 else -float(x[0])), -np.ones(1)

    assert minimise(beyond, np.zeros(1), iterations=40).x[0] == pytest.approx(0.5, abs=1e-4)
