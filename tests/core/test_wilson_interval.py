import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ravine.core.wilson_interval import wilson_interval


@given(st.integers(1, 20000), st.data())
def test_agrees_with_scipy(count: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, count))
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_seen_is_nothing_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
