"""Accuracies that are a mean of batches of unequal size: told by arithmetic, from the figure alone.

Of N examples, a share of right answers times N is a whole number. The mean over B batches, of which
the last has m examples and the others n, is (K / n + k / m) / B with whole K and k, and nearly no
other number is. So each recorded accuracy says how it was made, and what it should have been.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ravine.findings.finding import Finding
from ravine.findings.loop_record import LoopRecord
from ravine.findings.run_trace import Trace

_FEWEST = 3  # validations
_SMALL = 0.25  # of the other batches, below which the last one counts far too much
_EXACT = 3e-7  # error of an accuracy in float32
_BY_CHANCE = 1e-4  # that all accuracies fit


def find_batch_means(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields a small last batch whose examples count many times as much as the others.

    Args:
        record: of the monitor.
        run: the recorded losses and accuracies.
    """
    sizes, known = record.pass_sizes, [float(row[2]) for row in run.validations]
    known = [accuracy for accuracy in known if math.isfinite(accuracy)]
    is_seen = record.validations > record.elsewhere + record.swapped
    if len(known) < _FEWEST or not is_seen or len(sizes) < 2 or not _is_uneven(sizes):
        return
    found = [_right_answers(a, sizes) for a in known]
    fits_by_chance = 2 * _room(sizes) * (sizes[-1] + 1)
    is_likely = fits_by_chance ** len(known) > _BY_CHANCE
    if any(one is None for one in found) or is_likely:
        return
    if sum(_is_whole(a * sum(sizes), sum(sizes)) for a in known) > len(known) / 2:
        return
    right = [0 if one is None else one for one in found]
    yield _unequal(sizes, known[-1], right[-1] / sum(sizes))


def _is_uneven(sizes: Sequence[int]) -> bool:
    """Returns whether all batches but the last have one size, and that has far fewer."""
    first, *_, last = sizes
    return all(a == b for a, b in pairwise(sizes[:-1])) and 0 < last < _SMALL * first


def _room(sizes: Sequence[int]) -> float:
    return len(sizes) * sizes[0] * _EXACT


def _right_answers(accuracy: float, sizes: Sequence[int]) -> int | None:
    """Returns the number of right answers, if an accuracy is a mean of those of batches."""
    first, last, count = sizes[0], sizes[-1], len(sizes)
    for of_last in range(last + 1):
        of_others = (accuracy * count - of_last / last) * first
        nearest = round(of_others)
        if abs(of_others - nearest) < _room(sizes) and 0 <= nearest <= (count - 1) * first:
            return nearest + of_last
    return None


def _is_whole(value: float, total: int) -> bool:
    return abs(value - round(value)) < max(1e-4, total * _EXACT)


def _unequal(sizes: Sequence[int], recorded: float, whole: float) -> Finding:
    return Finding(
        severity="warning",
        code="accuracy-disagrees",
        seen=f"the accuracy of validation was recorded as {recorded:.1%}, which is the mean over "
        f"{len(sizes)} batches; over all examples it is {whole:.1%}: the last batch has "
        f"{sizes[-1]} examples and the others {sizes[0]}, so that each of them counts "
        f"{sizes[0] / sizes[-1]:.0f} times as much",
        cause="the means of batches are averaged, and the last batch is far smaller",
        cure="add up right answers (and loss · examples) over the batches, and divide by the "
        "number of all examples",
        evidence={"recorded": recorded, "whole": whole, "last": float(sizes[-1])},
    )
