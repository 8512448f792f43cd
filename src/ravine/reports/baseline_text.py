"""What stands beside a result about the baselines: what the pixels alone give."""

from collections.abc import Mapping, Sequence
from typing import Any


def baseline_text(rows: Sequence[Mapping[str, Any]], count: int) -> str:
    """Returns the accuracies of the baselines, and on which images where these are not all.

    Args:
        rows: as in evaluation.json; may be empty.
        count: images of the evaluation.

    >>> row = {"name": "nearest neighbour", "accuracy": 0.91, "count": 200, "trained_on": 1800}
    >>> baseline_text([row], 200)
    'nearest neighbour 91.0 %'
    >>> baseline_text([row], 5000)
    'nearest neighbour 91.0 % (of 200 images, by 1,800 training images)'
    """
    text = ", ".join(f"{row['name']} {100 * row['accuracy']:.1f} %" for row in rows)
    if rows and rows[0]["count"] < count:
        known = f"by {rows[0]['trained_on']:,} training images"
        text += f" (of {rows[0]['count']:,} images, {known})"
    return text
