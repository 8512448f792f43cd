"""Means over the steps since the last evaluation, summed on the device."""

import time

import torch


class StepMeter:
    """Sums the losses and hits of steps; reading waits for the device, adding does not."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._steps_before = 0
        self._seconds_before = 0.0
        self.restart()

    def restart(self) -> None:
        """Begins a new mean; what follows an evaluation is timed from here."""
        self._loss = torch.zeros((), dtype=torch.float64, device=self._device)
        self._correct = torch.zeros((), dtype=torch.int64, device=self._device)
        self._steps, self._seen = 0, 0
        self._since = time.monotonic()

    def add(self, loss: torch.Tensor, correct: torch.Tensor, seen: int) -> None:
        """Adds one step: its loss and number of hits, 0-dim tensors, and its number of images."""
        self._loss += loss
        self._correct += correct
        self._steps += 1
        self._seen += seen

    def close(self) -> tuple[float, float, float]:
        """Returns mean loss, accuracy and images per second, and stops the time."""
        loss, correct = float(self._loss), int(self._correct)
        seconds = time.monotonic() - self._since
        self._steps_before += self._steps
        self._seconds_before += seconds
        means = loss / self._steps, correct / self._seen, self._seen / max(seconds, 1e-9)
        self._steps = 0
        return means

    def seconds_per_step(self) -> float:
        """Returns the mean seconds of a step so far, without the evaluations between."""
        open_seconds = time.monotonic() - self._since if self._steps else 0.0
        return (self._seconds_before + open_seconds) / (self._steps_before + self._steps)
