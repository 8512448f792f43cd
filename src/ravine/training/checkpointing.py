"""When the state of a run is saved: every so many seconds, at its end, and on a stop signal."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from ravine.core.events import CheckpointSaved, Observer, ignore
from ravine.core.ranks import ALONE, Ranks
from ravine.training.clock import Clock
from ravine.training.state import TrainingState
from ravine.training.stop import Interrupted, StopRequest

_AGREE_EVERY = 8  # steps of several processes, which must agree on when to stop or save


@final
@dataclass(slots=True, kw_only=True)
class Checkpointing:
    """Saves the state of a run.

    Attributes:
        write: saves a state and returns the checkpoint's folder; on ranks other than 0 only the
            path. None where nothing is saved.
        every: seconds between two checkpoints.
        stop: the stop signal that arrived, if any.
        clock: of the budget; a checkpoint holds its seconds.
        emit: receives an event of each checkpoint.
        ranks: the processes that train together; each makes every call.
    """

    write: Callable[[TrainingState], Path] | None = None
    every: float = math.inf
    stop: StopRequest = field(default_factory=StopRequest)
    clock: Clock = field(default_factory=Clock)
    emit: Observer = ignore
    ranks: Ranks = ALONE
    _saved_at: float = field(default_factory=time.monotonic)

    def save(self, state: TrainingState) -> Path:
        """Saves a checkpoint now and returns its folder."""
        state.elapsed = self.clock.elapsed()
        if self.write is None:
            return Path()
        path = self.write(state)
        self.ranks.barrier()  # no process ends before it is saved
        self.emit(CheckpointSaved(step=state.step, path=str(path)))
        return path

    def after_step(self, state: TrainingState) -> None:
        """Saves a checkpoint where one is due.

        Raises:
            Interrupted: one of the processes got a stop signal; a checkpoint is saved.
        """
        if self.ranks.size > 1 and state.step % _AGREE_EVERY:
            return
        due = time.monotonic() - self._saved_at >= self.every
        signal_number, due_anywhere = self.ranks.all_reduce_max(self.stop.signal_number or 0, due)
        if signal_number:
            raise Interrupted(int(signal_number), self.save(state))
        if due_anywhere:
            self.save(state)
            self._saved_at = time.monotonic()
