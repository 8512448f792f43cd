"""Averages of the weights that a validation puts in, and that training then goes on from.

Writing through `.data` leaves no trace in a parameter's version, so samples of the weights are
compared: as the last step left them, as validation was asked with them, and as the next pass of
training finds them. Whether a loop moves its weights by itself all the time is watched from the
first such change on; what is read from the device is read there and at validations alone.
"""

from typing import final

import torch
from torch import Tensor

from ravine.findings.loop_record import SwappedWeights

_CHANGED, _SAME = 1e-4, 1e-6  # relative, of weights that are others, and that are the same
_BACK = -0.2  # cosine of the change with the way since training last went on
_MOST_WATCHED = 256  # passes between two validations


@final
class WeightsAroundValidation:
    """Compares samples (n,) of the weights around validations."""

    def __init__(self) -> None:
        self._asked: Tensor | None = None  # of the last pass without gradients
        self._validated: Tensor | None = None
        self._start: Tensor | None = None  # where training last began, or went on
        self._moved: Tensor | None = None  # by the loop itself, between steps
        self._watched = 0
        self._backs, self._changes = list[float](), list[float]()
        self._followed = 0  # validations that training followed, from the first change on

    @property
    def needs_sample(self) -> bool:
        """Whether the next pass of training has something to compare."""
        is_watching = bool(self._changes) and self._watched < _MOST_WATCHED
        return self._start is None or self._validated is not None or is_watching

    def on_plain_pass(self, now: Tensor) -> None:
        """Keeps the weights (n,) of a pass without gradients, which may be one of a validation."""
        self._asked = now

    def on_validation(self) -> None:
        """Takes the last pass for one of a validation that has ended."""
        self._validated, self._asked = self._asked, None

    def on_training_pass(self, now: Tensor, left: Tensor | None) -> None:
        """Compares the weights (n,) of a pass with those that the last step left, if any."""
        validated, self._validated = self._validated, None
        start = self._start
        if start is None or left is None:
            self._start = now
            return
        if validated is not None:
            self._start, self._watched = now, 0
            self._after_validation(now, left, validated, start)
        elif self._changes and self._watched < _MOST_WATCHED:
            self._watched += 1
            moved = (now - left).abs().max()
            self._moved = moved if self._moved is None else torch.maximum(self._moved, moved)

    def _after_validation(
        self, now: Tensor, left: Tensor, validated: Tensor, start: Tensor
    ) -> None:
        size = float(left.norm().clamp_min(1e-12))
        change, way = now - left, left - start
        relative = float(change.norm()) / size
        is_taken = relative > _CHANGED and float((now - validated).norm()) <= _SAME * size
        self._followed += is_taken or bool(self._changes)
        if is_taken:
            self._changes.append(relative)
            self._backs.append(float(torch.cosine_similarity(change, way, dim=0)))

    def found(self) -> SwappedWeights | None:
        """Returns what was seen; None where nothing was, or the loop moves weights by itself."""
        back = [c for c, b in zip(self._changes, self._backs, strict=True) if b < _BACK]
        if not back or self._moved is None or float(self._moved) > 0:
            return None
        return SwappedWeights(times=len(back), followed=self._followed, relative=max(back))
