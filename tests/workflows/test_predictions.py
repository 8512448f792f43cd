"""What predictions show of themselves."""

import numpy as np

from ravine.workflows.predictions import Predictions


def test_predictions_show_the_likeliest_classes_first_and_what_was_not_read() -> None:
    found = Predictions(
        names=["a.jpg", "b.jpg"],
        classes=("cat", "ship"),
        probabilities=np.array([[0.25, 0.75], [0.9, 0.1]], np.float32),
        unreadable=[("c.jpg", "truncated")],
    )

    assert repr(found).splitlines() == [
        "a.jpg: ship 75.0 %, cat 25.0 %",
        "b.jpg: cat 90.0 %, ship 10.0 %",
        "unreadable: c.jpg: truncated",
    ]


def test_of_many_predictions_a_few_are_shown_with_their_number() -> None:
    many = Predictions(
        names=[f"{n}.jpg" for n in range(1200)],
        classes=tuple("abcdefgh"),
        probabilities=np.full((1200, 8), 0.125, np.float32),
        unreadable=[],
    )

    *lines, last = repr(many).splitlines()
    assert (len(lines), last) == (5, "… 1,200 images in all; .labels, .probabilities")
    assert lines[0].count("%") == 5
