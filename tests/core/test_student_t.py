import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from ravine.core.student_t import student_t_cdf, student_t_quantile

FREEDOM = st.integers(1, 5000)


@given(FREEDOM, st.floats(-1e4, 1e4) | st.floats(-3, 3))
def test_the_distribution_is_scipys(freedom: int, t: float) -> None:
    assert student_t_cdf(freedom, t) == pytest.approx(special.stdtr(freedom, t), abs=1e-10)


@given(FREEDOM, st.floats(-40, -1e-3))
def test_a_small_tail_keeps_its_digits(freedom: int, t: float) -> None:
    expected = special.stdtr(freedom, t)

    if expected > 1e-200:  # scipy's own ends somewhere below
        assert student_t_cdf(freedom, t) == pytest.approx(expected, rel=1e-9, abs=0)


@given(FREEDOM, st.floats(1e-8, 1 - 1e-8))
def test_a_quantile_is_scipys(freedom: int, probability: float) -> None:
    expected = special.stdtrit(freedom, probability)

    assert student_t_quantile(freedom, probability) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_ends_of_the_line_are_certain() -> None:
    assert student_t_cdf(3, -math.inf) == 0.0
    assert student_t_cdf(3, math.inf) == 1.0
    assert student_t_cdf(3, 0.0) == 0.5
    assert math.isnan(student_t_cdf(3, math.nan))
