"""Early stopping of trials: halving at rungs (Jamieson, Talwalkar 2016), one candidate at a time.

Every trial is paused at the first rung; the better half goes on to the second, the best third of
all to the last, the best sixth to the end. Compared is the mean training loss over the last fifth
of the steps so far: it is there after every step, and within a candidate it has the same meaning.
The rest is named stopped. (Choosing one of three by three tenths of the steps saves a little more,
and tunes methods that are sensitive to the learning rate 2 to 4 points worse, so that others win.)

The decision depends on the trials' numbers alone, not on which came first, so that a race is the
same on any number of cores and however often it was interrupted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

WINDOW = 0.2  # share of the steps so far whose losses count
_RUNGS = ((0.1, 2), (0.25, 3), (0.45, 6))  # after this share, one in so many goes on


@final
@dataclass(frozen=True, slots=True)
class Rung:
    """After this share of a run, so many trials go on."""

    share: float
    keep: int


def rungs(trials: int, *, early: bool) -> list[Rung]:
    """Returns the rungs of a search; none without early stopping, or where nothing is saved.

    >>> rungs(6, early=True)
    [Rung(share=0.1, keep=3), Rung(share=0.25, keep=2), Rung(share=0.45, keep=1)]
    """
    if not early or trials < 3:
        return []
    found: list[Rung] = []
    for share, part in _RUNGS:
        keep = math.ceil(trials / part)
        if not found or keep < found[-1].keep:
            found.append(Rung(share, keep))
    return found


def survivors(losses: Mapping[int, float | None], keep: int) -> list[int]:
    """Returns the `keep` trials with the least loss, in order of their numbers.

    A trial without a finite loss does not go on. Of equal ones, the first goes on.

    >>> survivors({0: 0.9, 1: 0.3, 2: None, 3: 0.5}, keep=2)
    [1, 3]
    """
    finite = {k: v for k, v in losses.items() if v is not None and math.isfinite(v)}
    best = sorted(finite, key=lambda trial: (finite[trial], trial))[:keep]
    return sorted(best)


def search_cost(trials: int, *, early: bool) -> float:
    """Returns how many whole runs a search takes, in which no trial fails.

    >>> round(search_cost(6, early=True), 3), search_cost(6, early=False)
    (2.0, 6.0)
    """
    found, before, alive = 0.0, 0.0, trials
    for rung in rungs(trials, early=early):
        found += alive * (rung.share - before)
        before, alive = rung.share, min(alive, rung.keep)
    return found + alive * (1 - before)
