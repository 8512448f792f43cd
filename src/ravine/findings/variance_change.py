"""By what the variance of signals changes from the first hidden layer to the last, and whether that
is too much.
"""

import math
from collections.abc import Sequence

from ravine.findings.thresholds import EXPLODING, VANISHING


def change_of(variances: Sequence[float | None]) -> float:
    """Returns the last over the first variance; 1 where there is nothing to compare.

    Zeros are left out: they come of weights that are 0, not of many factors below 1.

    >>> change_of([0.5, None, 0.0, 2.0])
    4.0
    """
    known = [v for v in variances if v]
    if len(known) < 2:
        return 1.0
    return known[-1] / known[0] if math.isfinite(known[-1]) else math.inf


def describe_change(change: float) -> str:
    """Returns what the change of the variance means for training.

    >>> describe_change(3.0), describe_change(1e6), describe_change(1e-9)
    ('kept', 'explodes', 'vanishes')
    """
    if not change <= EXPLODING:
        return "explodes"
    return "vanishes" if change < VANISHING else "kept"
