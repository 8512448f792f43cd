"""The figure of variances, layer by layer."""

import numpy as np
from matplotlib.figure import Figure

from ravine.reports.variance_figure import _widen


def test_an_axis_of_activations_that_vanish_stays_as_it_is_without_a_warning() -> None:
    axes = Figure().subplots()
    axes.set_yscale("log")
    axes.set_ylim(np.float64(1e-310), np.float64(10.0))
    before = axes.get_ylim()

    _widen([axes])

    assert axes.get_ylim() == before


def test_an_axis_is_at_least_three_powers_of_ten_wide() -> None:
    axes = Figure().subplots()
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2.0)

    _widen([axes])

    low, high = axes.get_ylim()
    assert high / low > 999
