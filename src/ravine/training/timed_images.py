"""What evaluations take while other programs come and go: a few images of one, timed on the way.

An evaluation is timed at the first check, again after a fifth of the budget and at another pace of
steps, each time by images for 1/200 of the budget: four times, or for 3 % of the time gone by.
"""

from dataclasses import dataclass, replace
from typing import final

# Beside an endless loop evaluations took 1.85 times as long where steps took 2.5 times (two cores).
_SLOWS = 0.67
_TIMED_AGAIN, _OTHER_PACE, _SAME_PACE = 0.2, 1.25, 1.05
_TIMED_FOR, _MOST_TIMED, _TIMED_SHARE = 0.005, 512, 0.03


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TimedImages:
    """Images of evaluations that were timed on the way, at the pace that the steps have now.

    Attributes:
        count: of them.
        seconds: that they took.
        slower: steps then took so many times what was planned.
        at: seconds of the budget that were gone by.
        spent: seconds that all timing took.
        is_settled: whether that pace is the one since; while it changes, steps are of both.
    """

    count: int = 0
    seconds: float = 0.0
    slower: float = 1.0
    at: float = 0.0
    spent: float = 0.0
    is_settled: bool = True

    @property
    def image(self) -> float:
        """Seconds of one; 0 where none was timed."""
        return self.seconds / self.count if self.count else 0.0

    def due(
        self, *, slower: float, elapsed: float, budget: float, planned: float
    ) -> "tuple[TimedImages, int]":
        """Returns what is known now, and by how many images an evaluation is timed.

        Args:
            slower: steps take so many times what was planned.
            elapsed: seconds of the budget that are gone by.
            budget: its seconds.
            planned: seconds of an image of an evaluation, above 0.
        """
        if not self.is_settled:
            return replace(self, slower=slower, is_settled=True), 0
        count = min(_MOST_TIMED, int(_TIMED_FOR * budget / (self.image or planned)))
        other = max(slower / self.slower, self.slower / slower)
        is_old = elapsed >= self.at + _TIMED_AGAIN * budget
        is_due = not self.count or other > _OTHER_PACE or is_old
        most = max(4 * _TIMED_FOR * budget, _TIMED_SHARE * elapsed)
        if not is_due or not count or self.spent > most:
            return self, 0
        is_same = other <= _SAME_PACE
        known = self if is_same else replace(self, count=0, seconds=0.0)
        return replace(known, slower=slower, at=elapsed, is_settled=is_same), count

    def with_timed(self, count: int, image: float, spent: float) -> "TimedImages":
        """Returns these and `count` more of `image` seconds each, for which `spent` were spent."""
        return replace(
            self,
            count=self.count + count,
            seconds=self.seconds + count * image,
            spent=self.spent + spent,
        )

    def slowness(self, *, slower: float, planned: float) -> float | None:
        """Returns how many times as long as planned evaluations take; None where none was timed.

        Since they were timed they have changed as the steps have, where those did. The arguments
        are those of `due`.
        """
        if not self.count:
            return None
        since = slower / self.slower
        if max(since, 1 / since) <= _OTHER_PACE:
            since = 1.0
        return self.image / planned * slowness_by_steps(since)


def slowness_by_steps(slower: float) -> float:
    """Returns how many times as long evaluations take where steps take `slower` times as long."""
    return float(slower**_SLOWS)
