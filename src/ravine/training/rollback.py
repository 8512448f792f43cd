"""Going back when a run diverges: to weights that were good, with half of the rate.

Every 100 steps the losses since the last look are judged, and the state is kept if nothing was
wrong. When and where follows from the steps alone and never from the clock, and all that decides
is part of the checkpoint: a resumed run goes back at the same steps as one that nobody stopped.
"""

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from ravine.core.errors import TrainingDiverged
from ravine.core.events import RolledBack
from ravine.schedules.scheduler import Absolute, Curve
from ravine.training.guard import Guard
from ravine.training.save_points import SavePoints
from ravine.training.state import TrainingState

WINDOW = 100  # steps from look to look
MOST = 5  # times that a run is taken back
_LESS = 0.5  # of the rate, each time
_TOO_MUCH = 2.0  # times the loss of knowing nothing, or that of the first step
_KNEW, _FORGOT = 0.8, 0.97  # of the loss of knowing nothing: the best look, and this one
_LOST = 0.5  # share of a window's steps that were undone


@final
class Rollback:
    """Judges a run every `WINDOW` steps and takes it back where it has diverged.

    Args:
        guard: that of the state.
        points: where states are kept.
        classes: K; a loss of ln K is that of knowing nothing.

    Attributes:
        points: the same.
    """

    def __init__(self, guard: Guard, points: SavePoints, *, classes: int) -> None:
        self._guard, self.points = guard, points
        self._nothing = math.log(max(classes, 2))

    def schedules(self, schedules: Mapping[str, Curve]) -> dict[str, Curve]:
        """Returns the schedules with rates that follow the guard's scale."""
        given = schedules.get("lr", _constant)
        guard = self._guard
        scaled: Curve
        if isinstance(given, Absolute):
            value_at = given.value_at
            scaled = Absolute(lambda progress: guard.scale * value_at(progress))
        else:
            factor = given
            scaled = lambda progress: guard.scale * factor(progress)  # noqa: E731
        return {**schedules, "lr": scaled}

    def begin(self, state: TrainingState) -> None:
        """Keeps the state before step 1."""
        if state.step == 0 and not self._guard.points:
            self._keep(state)

    def after_step(self, state: TrainingState, loss: Tensor) -> RolledBack | None:
        """Takes note of a step; returns what was done where the run was taken back.

        Raises:
            TrainingDiverged: it diverges again and again.
        """
        self._guard.add(loss)
        if state.step % WINDOW:
            return None
        reason, is_good = self._judge(state)
        if reason is not None:
            return self._take_back(state, reason)
        if is_good:
            self._keep(state)
        return None

    def _judge(self, state: TrainingState) -> tuple[str | None, bool]:
        guard = self._guard
        total, count, first = guard.sums.tolist()
        skipped = int(state.transaction.skipped)
        lost = max(skipped - guard.skipped, WINDOW - int(count))
        limit = _TOO_MUCH * max(self._nothing, first if math.isfinite(first) else 0.0)
        guard.skipped = skipped
        guard.sums = torch.tensor([0.0, 0.0, first], dtype=torch.float64)
        if lost >= _LOST * WINDOW:
            return f"{lost} of {WINDOW} steps were not finite", False
        mean = total / max(count, 1)
        if mean > limit:
            return f"the mean loss of {WINDOW} steps is {mean:.3g}, over {limit:.3g}", False
        if guard.best < _KNEW * self._nothing and mean > _FORGOT * self._nothing:
            return (
                f"the mean loss of {WINDOW} steps went from {guard.best:.3g} to {mean:.3g}",
                False,
            )
        guard.best = min(guard.best, mean)
        return None, lost == 0

    def _take_back(self, state: TrainingState, reason: str) -> RolledBack:
        guard, step = self._guard, state.step
        if guard.times >= MOST:
            raise TrainingDiverged(
                f"training diverged: {reason} at step {step}, after {MOST} returns with half the "
                "rate each; lower --lr, or limit the gradients with --clip 1"
            )
        # The last good state may have been on its way already.
        to = guard.points[-2:][0]
        kept = [point for point in guard.points if point <= to]
        times, scale, elapsed = guard.times + 1, guard.scale * _LESS, state.elapsed
        state.load(to, *self.points.load(to))
        guard.times, guard.scale, guard.points = times, scale, kept
        state.elapsed = elapsed
        self.points.void_after(to)
        return RolledBack(step=step, to=to, scale=scale, reason=reason)

    def _keep(self, state: TrainingState) -> None:
        guard = self._guard
        others = [point for point in guard.points if point != state.step]
        guard.points = [*others[-1:], state.step]
        self.points.save(state)


def _constant(_progress: float) -> float:
    return 1.0
