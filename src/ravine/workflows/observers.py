"""The monitor of a run: layers.jsonl grows while the network is trained.

The weights are bitwise those of a run without it. The clock decides when a snapshot is taken, so
that a repeated run may have its snapshots at other steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import nn

from ravine.core.events import Event, Observer, RolledBack
from ravine.monitor.monitor import Monitor
from ravine.runs.folder import RunFolder
from ravine.runs.layers_file import keep_until
from ravine.workflows.assemble import Setup


@contextmanager
def watching(setup: Setup, folder: RunFolder) -> Iterator[list[Observer]]:
    """Monitors the network while it is open; yields the observers that this takes.

    Rows of steps that are still to come, of a run that was killed, are taken out of layers.jsonl.
    Of several processes only the main one has a monitor.
    """
    share, state = setup.recipe.monitor, setup.state
    if not share or not setup.ranks.leads:
        yield []
        return
    keep_until(folder.layers, state.step)
    # Compiled or not, what the loop calls is a module.
    called = cast("nn.Module", setup.forward)
    monitor = Monitor(called, state.transaction, path=folder.layers, share=share)
    monitor.step = state.step

    def go_back(event: Event) -> None:
        if isinstance(event, RolledBack):
            monitor.step = event.to
            monitor.not_finite = None
            keep_until(folder.layers, event.to)

    with monitor:
        yield [go_back]
