"""States of a run that it can be taken back to; the last two are kept."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torch import Tensor

from ravine.core.atomic import make_folder
from ravine.core.ranks import ALONE, Ranks
from ravine.runs.checkpoints import (
    checkpoint_paths,
    checkpoint_step,
    load_checkpoint,
    save_checkpoint,
)
from ravine.training.state import CLOCKS, TrainingState


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SavePoints:
    """Save points of one run.

    Attributes:
        folder: of the save points.
        checkpoints: folder of the run's checkpoints; a rollback makes the later ones void.
        ranks: the processes that train together; each calls all of this.
    """

    folder: Path
    checkpoints: Path
    ranks: Ranks = ALONE

    def save(self, state: TrainingState) -> None:
        """Keeps this state."""
        if self.ranks.is_main:
            make_folder(self.folder)
            save_checkpoint(self.folder, state.step, state.tensors(), state.values(), clocks=CLOCKS)
        self.ranks.barrier()

    def load(self, step: int) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Returns the tensors by name, of any shape, and the values of the state of this step.

        Raises:
            RunError: it is not there any more, or torn.
        """
        found = load_checkpoint(self.folder / f"step-{step:08d}")
        return found.tensors, found.values

    def forget_after(self, step: int) -> None:
        """Drops the save points of later steps."""
        if self.ranks.is_main:
            _drop_after(self.folder, step)
        self.ranks.barrier()

    def void_after(self, step: int) -> None:
        """Drops the save points and the checkpoints of later steps."""
        if self.ranks.is_main:
            _drop_after(self.checkpoints, step)
        self.forget_after(step)


def _drop_after(folder: Path, step: int) -> None:
    for path in checkpoint_paths(folder):
        if checkpoint_step(path) > step:
            shutil.rmtree(path)
