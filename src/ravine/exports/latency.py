"""How long programs take for the same images, in turn, so that a machine's moods meet them all.

A runtime's threads go on asking for work for a while after an answer (OpenMP's, onnxruntime's), and
take the cores from who answers next: with one image on two cores an answer took six times as long.
So each turn begins with a pause, and with an answer that is not timed and wakes the own threads.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

_SECONDS = 1.0  # of measuring, for one number of images
_LONGEST = 20.0  # seconds; programs that are slow are measured in fewer rounds
_FEWEST, _LEAST, _MOST = 2, 5, 51  # rounds
_PAUSE = 0.02  # seconds, longer than waiting threads keep a core


@final
@dataclass(frozen=True, slots=True)
class Latency:
    """Times of programs for the same images.

    Attributes:
        milliseconds: the median of each program, by name.
        times_faster: how many times faster the last program is than each other one: the median of
            the rounds' ratios with its 95 % interval, (median, low, high).
    """

    milliseconds: Mapping[str, float]
    times_faster: Mapping[str, tuple[float, float, float]]


def latency(programs: Mapping[str, Callable[[], object]]) -> Latency:
    """Returns the times of programs, called in turn, each after a call that is not timed."""
    for program in programs.values():
        program()
    times: dict[str, list[float]] = {name: [] for name in programs}
    start, rounds = time.perf_counter(), 0
    while _goes_on(rounds, time.perf_counter() - start):
        for name, program in programs.items():
            time.sleep(_PAUSE)
            program()
            before = time.perf_counter()
            program()
            times[name].append(1000 * (time.perf_counter() - before))
        rounds += 1
    *others, last = programs
    ratios = {n: [a / b for a, b in zip(times[n], times[last], strict=True)] for n in others}
    return Latency(
        {name: statistics.median(found) for name, found in times.items()},
        {name: median_with_interval(found) for name, found in ratios.items()},
    )


def _goes_on(rounds: int, seconds: float) -> bool:
    """Returns whether there is another round."""
    if rounds < _LEAST:
        return rounds < _FEWEST or seconds < _LONGEST
    return rounds < _MOST and seconds < _SECONDS


def median_with_interval(values: list[float]) -> tuple[float, float, float]:
    """Returns the median and its 95 % interval from order statistics (Conover 1999, 3.2).

    Of fewer than six values the interval is the range.

    >>> median_with_interval([1.0, 2.0, 3.0])
    (2.0, 1.0, 3.0)
    """
    ordered = sorted(values)
    count = len(ordered)
    rank = max(0, int(count / 2 - 1.96 * count**0.5 / 2))
    return statistics.median(ordered), ordered[rank], ordered[count - 1 - rank]
