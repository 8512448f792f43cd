"""The values of a figure's curves, as the page's script reads them."""

import numpy as np

from ravine.reports.curve_figures import figure_of
from ravine.reports.readings import readings_of


def test_labelled_lines_are_read_and_each_panel_has_the_name_of_its_own_axis() -> None:
    with figure_of(6, 4, nrows=2, ncols=2, sharex="col") as (figure, axes):
        axes[0][0].plot([1, 2, 3], [0.5, np.nan, 2.0], label="a")
        axes[0][1].plot([1, 2], [10.0, 100.0], label=r"cost \$1")
        axes[0][1].set_yscale("log")
        axes[1][0].plot([1, 2], [1, 2])
        axes[1][0].set_xlabel("steps")
        axes[1][1].set_xlabel("seconds")
        figure.get_layout_engine().execute(figure)
        left, right = readings_of(figure)

    assert (left["name"], right["name"]) == ("steps", "seconds")
    assert (left["logy"], right["logy"]) == (False, True)
    assert left["lines"][0]["y"] == [0.5, None, 2.0]
    assert right["lines"][0]["name"] == "cost $1"
    assert left["box"][2] < right["box"][0]


def test_a_long_line_is_thinned_and_keeps_its_ends() -> None:
    with figure_of(6, 4) as (figure, axes):
        axes.plot(range(10_000), range(10_000), label="a")
        (panel,) = readings_of(figure)

    x = panel["lines"][0]["x"]
    assert len(x) == 300
    assert (x[0], x[-1]) == (0.0, 9999.0)
