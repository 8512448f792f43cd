"""Training loops timed in turn, round by round, so that a machine's moods meet all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import final

import torch

from ravine.core.progress import Progress, no_progress
from ravine.kernels.library import without_library
from ravine.training.reference_loops import Step
from ravine.training.speed import wait_for

ROUNDS = 5


@final
@dataclass(frozen=True, slots=True)
class TimedLoop:
    """A loop to be timed.

    Attributes:
        run: takes so many steps.
        alone: without the C library, as torch gives it.
    """

    run: Callable[[int], None]
    alone: bool = False


def repeated(step: Step) -> Callable[[int], None]:
    """Returns what takes a step so many times."""

    def run(steps: int) -> None:
        for _ in range(steps):
            step()

    return run


@final
@dataclass(frozen=True, slots=True)
class RoundTimes:
    """Seconds of a step of each loop, by rounds."""

    seconds: Mapping[str, tuple[float, ...]]

    def images_per_second(self, batch: int) -> dict[str, float]:
        """Returns the medians."""
        return {name: batch / statistics.median(found) for name, found in self.seconds.items()}

    def ratio(self, name: str, other: str) -> float:
        """Returns how many times as fast `name` is as `other`: the median over rounds.

        >>> RoundTimes({"a": (1.0, 2.0, 3.0), "b": (2.0, 2.0, 9.0)}).ratio("a", "b")
        2.0
        """
        pairs = zip(self.seconds[name], self.seconds[other], strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)


def time_in_turn(
    loops: Mapping[str, TimedLoop],
    *,
    seconds: float,
    device: torch.device,
    progress: Progress = no_progress,
) -> RoundTimes:
    """Returns the times of loops in `ROUNDS` rounds, in about `seconds` after a warm-up.

    Args:
        loops: by name.
        seconds: shared among loops and rounds; a round is at least one step.
        device: to wait for.
        progress: receives how many rounds are done.
    """
    found: dict[str, list[float]] = {name: [] for name in loops}
    steps: dict[str, int] = {}
    share = seconds / len(loops) / ROUNDS
    for number in range(ROUNDS + 1):
        progress("timing training loops", number, ROUNDS + 1)
        for name, loop in loops.items():
            with without_library() if loop.alone else nullcontext():
                if number == 0:  # warm, and see how many steps fill a round
                    _timed(loop, 2, device)
                    steps[name] = max(1, round(share / _timed(loop, 1, device)))
                else:
                    found[name].append(_timed(loop, steps[name], device))
    return RoundTimes({name: tuple(taken) for name, taken in found.items()})


def _timed(loop: TimedLoop, steps: int, device: torch.device) -> float:
    start = time.perf_counter()
    loop.run(steps)
    wait_for(device)
    return (time.perf_counter() - start) / steps
