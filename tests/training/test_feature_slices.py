import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.training.feature_slices import rows_in_order, slice_of, slices_for, stand_ins


@given(count=st.integers(1, 5000), share=st.floats(0.01, 1))
def test_rows_lie_slice_by_slice_and_every_image_has_one_that_is_there(
    count: int, share: float
) -> None:
    index = np.arange(100, 100 + count)
    slices = max(1, round(share * slices_for(count)))
    there = np.concatenate([slice_of(index, number) for number in range(slices)])

    assert np.array_equal(there, index[rows_in_order(count, slices)])
    instead = index[stand_ins(count, slices)]
    assert np.isin(instead, there).all()
    own = np.isin(index, there)
    assert np.array_equal(instead[own], index[own])
    assert np.abs(instead - index).max() < slices_for(count)


def test_stand_ins_keep_the_shares_of_sorted_classes() -> None:
    labels = np.repeat([0, 1, 2], 1600)

    shares = np.bincount(labels[stand_ins(4800, 1)]) / 4800

    assert shares == pytest.approx([1 / 3] * 3, abs=0.01)
