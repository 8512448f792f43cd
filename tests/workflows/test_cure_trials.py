"""Trials of a cure: the difference, its interval, and what is said of it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ravine.findings.cure_trials import compare, interval


def trial(cured: list[float], control: list[float]) -> object:
    return compare(
        "He instead of Xavier",
        cured=cured.__getitem__,
        control=control.__getitem__,
        seeds=range(len(cured)),
        steps=200,
    )


def test_a_cure_that_helps_is_told_with_its_interval_and_its_seeds() -> None:
    found = trial([1.0, 1.1, 0.9, 1.0, 1.05], [1.4, 1.52, 1.3, 1.42, 1.46])

    assert str(found) == (
        "He instead of Xavier: loss after 200 steps 0.41 lower (0.398 to 0.422), 5 of 5 seeds"
    )


def test_a_cure_that_does_not_help_is_said_not_to() -> None:
    assert "it makes no significant difference" in str(trial([1.0, 1.4, 0.9], [1.1, 1.2, 1.0]))
    assert "it harms" in str(trial([2.0, 2.1, 2.05], [1.0, 1.1, 1.0]))


def test_losses_that_are_not_finite_decide_alone() -> None:
    lost = [math.inf, math.nan, math.inf]

    assert "helps" in str(trial([1.0, 1.0, 1.0], lost))
    assert "harms" in str(trial(lost, [1.0, 1.0, 1.0]))
    assert "cannot be judged" in str(trial([1.0, math.inf, 1.0], lost))


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=9).filter(lambda v: np.std(v) > 1e-3))
def test_the_interval_is_that_of_a_paired_t_test(differences: list[float]) -> None:
    result = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)

    assert interval(differences)[1:] == pytest.approx((result.low, result.high), rel=1e-6, abs=1e-9)
