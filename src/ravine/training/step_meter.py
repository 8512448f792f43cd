"""Means over the steps since the last evaluation, summed on the device.

The meter is a part of the training state: a run that was killed in the middle of an epoch reports
the same means as one that was not.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, final

import torch


class Means(NamedTuple):
    """Means over steps: the loss, its floor, the share of hits in [0, 1], images per second."""

    loss: float
    floor: float
    accuracy: float
    images_per_second: float


@final
class StepMeter:
    """Sums the losses and hits of steps; reading waits for the device, adding does not."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._steps, self._steps_before = 0, 0
        self._seconds_before = 0.0
        self.restart()

    def restart(self) -> None:
        """Begins a new mean; what follows an evaluation is timed from here.

        Steps that no `close` has counted were undone: the seconds of a step begin anew, too.
        """
        if self._steps:
            self._steps_before, self._seconds_before = 0, 0.0
        self._loss = torch.zeros((), dtype=torch.float64, device=self._device)
        self._floor = torch.zeros_like(self._loss)
        self._correct = torch.zeros((), dtype=torch.int64, device=self._device)
        self._steps, self._seen = 0, 0
        self._open_seconds = 0.0
        self.resume_clock()

    def resume_clock(self) -> None:
        """Times what follows, and not what came between the last step and now."""
        self._since = time.monotonic()

    def leave_out(self, seconds: float) -> None:
        """Counts so many seconds, just gone by, as none of the steps'."""
        self._since += seconds

    def add(
        self, loss: torch.Tensor, floor: torch.Tensor, correct: torch.Tensor, seen: int
    ) -> None:
        """Adds one step: loss, its floor and number of hits, 0-dim tensors, and its images."""
        self._loss += loss
        self._floor += floor
        self._correct += correct
        self._steps += 1
        self._seen += seen

    def close(self) -> Means:
        """Returns the means, and stops the time."""
        loss, floor, correct = float(self._loss), float(self._floor), int(self._correct)
        seconds = self._seconds()
        self._steps_before += self._steps
        self._seconds_before += seconds
        means = Means(
            loss=loss / self._steps,
            floor=floor / self._steps,
            accuracy=correct / self._seen,
            images_per_second=self._seen / max(seconds, 1e-9),
        )
        self._steps = 0
        return means

    def restart_pace(self) -> None:
        """Begins a new mean of the seconds of a step; those of the open epoch do not count."""
        self._steps_before = -self._steps
        self._seconds_before = -self._seconds() if self._steps else 0.0

    def seconds_per_step(self) -> tuple[float, int]:
        """Returns the mean seconds of a step since `restart_pace`, and the number of steps.

        Those of evaluations do not count.
        """
        open_seconds = self._seconds() if self._steps else 0.0
        count = self._steps_before + self._steps
        return (self._seconds_before + open_seconds) / count, count

    def tensors(self) -> dict[str, torch.Tensor]:
        """Returns its tensors by name: `loss`, `floor` and `correct`, 0-dim."""
        return {"loss": self._loss, "floor": self._floor, "correct": self._correct}

    def values(self) -> dict[str, Any]:
        """Returns its counts."""
        return {"steps": self._steps, "seen": self._seen, "steps_before": self._steps_before}

    def clocks(self) -> dict[str, float]:
        """Returns its seconds."""
        return {"open": self._seconds() if self._steps else 0.0, "before": self._seconds_before}

    def load(
        self,
        tensors: Mapping[str, torch.Tensor],
        values: Mapping[str, Any],
        clocks: Mapping[str, Any],
    ) -> None:
        """Restores saved tensors, 0-dim, with saved counts and seconds."""
        self._loss = tensors["loss"].to(self._device, torch.float64).clone()
        floor = tensors.get("floor", torch.zeros(()))  # not in checkpoints of before
        self._floor = floor.to(self._device, torch.float64).clone()
        self._correct = tensors["correct"].to(self._device, torch.int64).clone()
        self._steps, self._seen = int(values["steps"]), int(values["seen"])
        self._steps_before = int(values["steps_before"])
        self._open_seconds, self._seconds_before = float(clocks["open"]), float(clocks["before"])
        self.resume_clock()

    def _seconds(self) -> float:
        return self._open_seconds + time.monotonic() - self._since
