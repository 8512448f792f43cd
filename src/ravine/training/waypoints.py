"""Weights along the way: the points of a loss surface's trajectory.

    weights/step-00000420.safetensors   weights and buffers after 420 steps, float32 as trained

Files are written whole, at steps that follow from the plan, so that a resumed run writes the same
ones again. Nothing of the training depends on them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from ravine.core.atomic import make_folder
from ravine.core.events import Event, StepDone, TrainingStarted
from ravine.core.tensor_file import save_tensors
from ravine.training.state import TrainingState


@final
@dataclass(slots=True, kw_only=True)
class Waypoints:
    """An observer that keeps the weights that are evaluated, `count` times on the way.

    Attributes:
        folder: of the files.
        count: points before the last step; 0 keeps none.
        state: of the run.
        steps_per_epoch: for the epoch of a point.
    """

    folder: Path
    count: int
    state: TrainingState
    steps_per_epoch: int

    def __call__(self, event: Event) -> None:
        """Keeps the weights before step 1, and whenever the next part of the plan is done."""
        if not self.count:
            return
        if isinstance(event, TrainingStarted) and event.step == 0:
            self._save(0)
        elif isinstance(event, StepDone) and event.step < event.total_steps:
            before, now = (
                k * self.count // event.total_steps for k in (event.step - 1, event.step)
            )
            if now > before:
                self._save(event.step)

    def _save(self, step: int) -> None:
        make_folder(self.folder)
        about = {"step": step, "epoch": step / self.steps_per_epoch}
        path = self.folder / f"step-{step:08d}.safetensors"
        save_tensors(path, self.state.evaluated.state_dict(), about)
