import numpy as np
import pytest
from scipy.stats import qmc

from ravine.core.halton import halton


@pytest.mark.parametrize("axes", [1, 2, 3, 6])
def test_the_points_are_scipys(axes: int) -> None:
    expected = qmc.Halton(axes, scramble=False).random(1000)

    np.testing.assert_allclose(halton(1000, axes), expected, rtol=0, atol=1e-14)


def test_no_points_are_an_empty_table() -> None:
    assert halton(0, 3).shape == (0, 3)
