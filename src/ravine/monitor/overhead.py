"""When a snapshot is due: the monitor's own cost against the time of the steps."""

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch

_KEPT = 9  # durations and costs that a median is taken of
_PAUSE = 3.0  # times the usual step; what takes longer is a pause (an evaluation)
_NORMS = 0.25  # of the share, for the norms of gradients at every step
# Snapshots are at least a 200th of the steps so far apart: few thousand in a long run.
_GROWTH = 200


@final
class OverheadBudget:
    """Keeps the monitor's time under a share of the training's.

    A snapshot is due at the first step, and then whenever the share of the time of the steps so
    far covers all snapshots so far and one more.

    Args:
        share: of the time of the steps, in (0, 1).
        every: steps from snapshot to snapshot in place of the clock; None for the clock.
        device: whose time counts too, where it is a GPU.

    Attributes:
        spent: seconds of the monitor so far.
        trained: seconds of the steps so far, without the monitor and without pauses.
    """

    def __init__(self, share: float, every: int | None, device: torch.device) -> None:
        self.share, self.every = share, every
        self.spent = self.trained = 0.0
        self._cuda = device.type == "cuda"
        self._events: deque[tuple[float, torch.cuda.Event, torch.cuda.Event]] = deque()
        self._costs: deque[float] = deque(maxlen=_KEPT)
        self._steps: deque[float] = deque(maxlen=_KEPT)
        self._norms: deque[float] = deque(maxlen=_KEPT)
        self._last_snapshot = 0
        self._marked: float | None = None
        self._spent_at_mark = 0.0

    @contextmanager
    def timed(self, *, snapshot: bool = False, norms: bool = False) -> Iterator[None]:
        """Adds the time of what runs inside to the monitor's, as that of a snapshot or of norms."""
        start = time.perf_counter()
        if snapshot and self._cuda:
            events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            events[0].record()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self.spent += seconds
            if snapshot and self._cuda:
                events[1].record()
                self._events.append((seconds, *events))
            elif snapshot:
                self._costs.append(seconds)
            if norms:
                self._norms.append(seconds)

    def step_done(self) -> None:
        """Marks the end of a step."""
        now = time.perf_counter()
        if self._marked is not None:
            seconds = max(0.0, now - self._marked - (self.spent - self._spent_at_mark))
            if self._steps:
                seconds = min(seconds, _PAUSE * statistics.median(self._steps))
            self._steps.append(seconds)
            self.trained += seconds
        self._marked, self._spent_at_mark = now, self.spent

    def snapshot_taken(self, step: int) -> None:
        """Records that this step has a snapshot."""
        self._last_snapshot = step

    def is_due(self, step: int) -> bool:
        """Returns whether a snapshot is due at this step, counted from 1."""
        if self.every is not None:
            return step == 1 or step % self.every == 0
        self._settle()
        if step - self._last_snapshot <= self._last_snapshot // _GROWTH:
            return False
        return not self._last_snapshot or self.spent + self.cost <= self.share * self.trained

    @property
    def affords_norms(self) -> bool:
        """Whether the norms of gradients may be taken at every step, and not in snapshots alone."""
        if self.every is not None or not self._norms or not self._steps:
            return True
        usual = statistics.median(self._norms)
        return usual <= _NORMS * self.share * statistics.median(self._steps)

    @property
    def cost(self) -> float:
        """Median seconds of a snapshot; 0 before the first."""
        return statistics.median(self._costs) if self._costs else 0.0

    @property
    def overhead(self) -> float:
        """The monitor's time over that of the steps; NaN before the second step."""
        return self.spent / self.trained if self.trained else float("nan")

    def _settle(self) -> None:
        """Adds the device's time of snapshots that have ended, without waiting for any."""
        while self._events and self._events[0][2].query():
            seconds, start, end = self._events.popleft()
            on_device = start.elapsed_time(end) / 1000
            self.spent += max(0.0, on_device - seconds)
            self._costs.append(max(seconds, on_device))
