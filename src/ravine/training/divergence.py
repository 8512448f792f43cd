"""What happens to a run that diverges: it stops, or it rolls back to the last good weights.

`Rollback` judges the losses of every 100 steps and saves the state if nothing was wrong; a run
that diverges rolls back, with half of the learning rate. A rollback follows from the steps alone
and never from the clock, and the checkpoint holds all that decides: a resumed run rolls back at
the same steps as an uninterrupted one.
"""

import math
from collections.abc import Mapping
from typing import Protocol, final

import torch
from torch import Tensor

from ravine.core.errors import TrainingDiverged
from ravine.core.events import RolledBack
from ravine.schedules.scheduler import Absolute, Curve
from ravine.training.divergence_state import DivergenceState
from ravine.training.save_points import SavePoints
from ravine.training.state import TrainingState

WINDOW = 100  # steps from one judgement to the next
MOST = 5  # rollbacks of a run
_LESS = 0.5  # of the learning rate, each time
_TOO_MUCH = 2.0  # times the loss of knowing nothing, or that of the first step
_KNEW, _FORGOT = 0.8, 0.97  # of the loss of knowing nothing: the best window, and this one
_LOST = 0.5  # share of a window's steps that were undone
_REMEDY = "lower --lr, or limit the gradients with --clip 1"


class Divergence(Protocol):
    """How a run meets divergence; the loop calls each method once a step."""

    def begin(self, state: TrainingState) -> None:
        """Prepares for the first step, or for going on."""
        ...

    def schedules(self, schedules: Mapping[str, Curve]) -> Mapping[str, Curve]:
        """Returns the schedules that training follows."""
        ...

    def after_step(self, state: TrainingState, loss: Tensor) -> RolledBack | None:
        """Adds a step's loss, 0-dim; returns the rollback where there was one."""
        ...

    def lost(self, state: TrainingState) -> TrainingDiverged | None:
        """Returns why the run has to stop, with the remedy; None where it goes on."""
        ...


@final
class StopOnDivergence:
    """Stops a run whose last `WINDOW` steps were all undone; reads the device once a window."""

    def begin(self, state: TrainingState) -> None:
        """Does nothing."""

    def schedules(self, schedules: Mapping[str, Curve]) -> Mapping[str, Curve]:
        """Returns the schedules as they are."""
        return schedules

    def after_step(self, state: TrainingState, loss: Tensor) -> None:
        """Does nothing with the loss, 0-dim."""

    def lost(self, state: TrainingState) -> TrainingDiverged | None:
        """Returns how many steps were undone, since which; None while one was taken."""
        if state.step % WINDOW or int(state.transaction.streak) < WINDOW:
            return None
        undone = int(state.transaction.streak)
        step = int(state.transaction.first_skipped[0]) + 1
        return TrainingDiverged(
            f"training diverged: the last {undone} steps were not finite and were undone, "
            f"the first at step {step}; {_REMEDY}"
        )


@final
class Rollback:
    """Judges a run every `WINDOW` steps and rolls it back where it has diverged.

    Args:
        memory: the divergence state of the run.
        points: the save points.
        classes: K; a loss of ln K is that of knowing nothing.
        ignorance: the loss of knowing nothing, where an image has several labels; None for ln K.

    Attributes:
        points: the same.
    """

    def __init__(
        self,
        memory: DivergenceState,
        points: SavePoints,
        *,
        classes: int,
        ignorance: float | None = None,
    ) -> None:
        self._memory, self.points = memory, points
        self._nothing = math.log(max(classes, 2)) if ignorance is None else ignorance

    def schedules(self, schedules: Mapping[str, Curve]) -> dict[str, Curve]:
        """Returns the schedules with learning rates that follow the divergence state's scale."""
        given = schedules.get("lr", _constant)
        memory = self._memory
        scaled: Curve
        if isinstance(given, Absolute):
            value_at = given.value_at
            scaled = Absolute(lambda progress: memory.scale * value_at(progress))
        else:
            factor = given
            scaled = lambda progress: memory.scale * factor(progress)  # noqa: E731
        return {**schedules, "lr": scaled}

    def begin(self, state: TrainingState) -> None:
        """Keeps the state before step 1."""
        if state.step == 0 and not self._memory.points:
            self._keep(state)

    def after_step(self, state: TrainingState, loss: Tensor) -> RolledBack | None:
        """Adds a step's loss, 0-dim; returns the rollback where there was one.

        Raises:
            TrainingDiverged: it diverges again and again.
        """
        self._memory.add(loss)
        if state.step % WINDOW:
            return None
        reason, is_good = self._judge(state)
        if reason is not None:
            return self._take_back(state, reason)
        if is_good:
            self._keep(state)
        return None

    def lost(self, state: TrainingState) -> None:
        """Returns None: `after_step` raises where no rollback is left."""

    def _judge(self, state: TrainingState) -> tuple[str | None, bool]:
        memory = self._memory
        total, count, first = memory.sums.tolist()
        skipped = int(state.transaction.skipped)
        lost = max(skipped - memory.skipped, WINDOW - int(count))
        limit = _TOO_MUCH * max(self._nothing, first if math.isfinite(first) else 0.0)
        memory.skipped = skipped
        memory.sums = torch.tensor([0.0, 0.0, first], dtype=torch.float64)
        if lost >= _LOST * WINDOW:
            return f"{lost} of {WINDOW} steps were not finite", False
        mean = total / max(count, 1)
        if mean > limit:
            return f"the mean loss of {WINDOW} steps is {mean:.3g}, over {limit:.3g}", False
        if memory.best < _KNEW * self._nothing and mean > _FORGOT * self._nothing:
            return (
                f"the mean loss of {WINDOW} steps went from {memory.best:.3g} to {mean:.3g}",
                False,
            )
        memory.best = min(memory.best, mean)
        return None, lost == 0

    def _take_back(self, state: TrainingState, reason: str) -> RolledBack:
        memory, step = self._memory, state.step
        if memory.times >= MOST:
            raise TrainingDiverged(
                f"training diverged: {reason} at step {step}, after {MOST} returns with half the "
                f"learning rate each; {_REMEDY}"
            )
        # The last good state may have been on its way already.
        to = memory.points[-2:][0]
        kept = [point for point in memory.points if point <= to]
        times, scale, elapsed = memory.times + 1, memory.scale * _LESS, state.elapsed
        state.load(to, *self.points.load(to))
        memory.times, memory.scale, memory.points = times, scale, kept
        state.elapsed = elapsed
        self.points.void_after(to)
        return RolledBack(step=step, to=to, scale=scale, reason=reason)

    def _keep(self, state: TrainingState) -> None:
        memory = self._memory
        others = [point for point in memory.points if point != state.step]
        memory.points = [*others[-1:], state.step]
        self.points.save(state)


def _constant(_progress: float) -> float:
    return 1.0
