"""Ravine's whole training loop on images of noise, step by step, to be timed.

Order, augmentation, the step as a transaction, history, events, monitor: all that `ravine train`
does between two evaluations.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.events import Event, Observer
from ravine.data.opening import open_dataset
from ravine.ops.kernel_plan import use_algorithms
from ravine.runs.folder import RunFolder
from ravine.schedules import constant
from ravine.training.loop import fit
from ravine.training.plan import Plan
from ravine.training.recorder import Recorder
from ravine.workflows.assemble import Assembly, assemble
from ravine.workflows.observers import monitored
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session
from ravine.workflows.start_weights import opened_start

_IMAGES = 1024
_FOREVER = 10**6  # steps of an epoch: nothing is evaluated


@final
@dataclass(frozen=True, slots=True)
class WholeLoop:
    """Ravine's training loop.

    Attributes:
        assembly: what it trains.
        observers: that receive the events of every step.
    """

    assembly: Assembly
    observers: tuple[Observer, ...]

    def run(self, steps: int) -> None:
        """Takes so many steps."""
        end = self.assembly.training.state.step + steps
        plan = Plan(total_steps=end, steps_per_epoch=_FOREVER)
        training = replace(self.assembly.training, schedules={"lr": constant}, validate=None)
        with use_algorithms(self.assembly.kernels.algorithms):
            fit(training, plan, emit=self._emit)

    def _emit(self, event: Event) -> None:
        for observer in self.observers:
            observer(event)


@contextmanager
def whole_loop(
    recipe: Recipe,
    session: Session,
    *,
    size: int,
    channels: int,
    classes: int,
    code: AllowedCode = NO_CODE,
) -> Iterator[WholeLoop]:
    """Yields the loop of a recipe on noise; its kernel plan is that of a run.

    Args:
        recipe: network, or weights to start from, batch, precision; its data are replaced.
        session: whose observers receive the choices.
        size: pixels a side.
        channels: of the images.
        classes: of the labels.
        code: the `module:callable`s that may be imported as the network.
    """
    with tempfile.TemporaryDirectory(prefix="ravine-") as folder, ExitStack() as stack:
        file = _noise(Path(folder), size=size, channels=channels, classes=classes)
        own = recipe.with_(data=str(file), epochs=1000.0, budget=None, lr=0.01, cache=False)
        own, start = opened_start(own, session, code)
        dataset = open_dataset(own, seed=0)
        assembly = assemble(own, dataset, session, plan=None, code=code, start=start)
        recorder = Recorder(path=Path(folder) / "history.jsonl", steps_per_epoch=_FOREVER)
        watchers = stack.enter_context(monitored(assembly, RunFolder(Path(folder)), session))
        yield WholeLoop(assembly, (recorder, *watchers))


def _noise(folder: Path, *, size: int, channels: int, classes: int) -> Path:
    rng = np.random.default_rng(0)
    file = folder / "data.npz"
    np.savez(
        file,
        images=rng.integers(0, 256, (_IMAGES, size, size, channels), dtype=np.uint8),
        labels=np.arange(_IMAGES) % classes,
    )
    return file
