"""Labels at the ends of curves, and drawings that follow the page's colours."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ravine.reports.curve_figures import curves
from ravine.reports.direct_labels import spread


@given(st.lists(st.floats(0, 100), max_size=8))
def test_labels_are_apart_and_in_the_order_of_their_curves(heights: list[float]) -> None:
    found = spread(heights, 0.0, 100.0)
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    placed = [found[k] for k in order]

    assert all(b - a >= 11 - 1e-9 for a, b in pairwise(placed))
    assert all(-1e-9 <= one <= 100 + 1e-9 for one in placed)


def test_curves_are_labelled_where_they_end_and_take_the_colours_of_the_page() -> None:
    epochs = [
        {
            "epoch": k, "train_loss": 1 / k, "train_accuracy": 0.5, "loss": 1.1 / k,
            "accuracy": 0.5, "interval": [0.4, 0.6],
        }
        for k in (1, 2, 3)
    ]  # fmt: skip
    drawn = curves(epochs, [])

    assert [drawn.count(f">{word}<") for word in ("training", "validation")] == [2, 2]
    assert "var(--blue, #0067a5)" in drawn
    assert not re.search(r"(?<!, )#0067a5", drawn)


def test_one_row_of_steps_is_no_curve() -> None:
    epochs = [{"epoch": 1, "train_loss": 2.0, "train_accuracy": 0.5, "loss": 2.1, "accuracy": 0.5}]
    rows = [
        {"epoch": k, "loss": 2.0, "accuracy": 0.5, "lr": 0.1, "images_per_second": 9.0}
        for k in (1, 2)
    ]

    none, one, two = (curves(epochs, rows[:count]).count("<path") for count in (0, 1, 2))
    assert none == one < two
