"""The monitor of a run: layers.jsonl grows while the network is trained.

It reads and changes nothing: the weights are bitwise those of a run without it. The steps of its
snapshots follow the clock, so that a repeated run may have them at other steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import nn

from ravine.core.events import Event, Observer, RolledBack
from ravine.monitor.monitor import Monitor
from ravine.runs.folder import RunFolder
from ravine.runs.layers_file import keep_until
from ravine.workflows.assemble import Assembly
from ravine.workflows.session import Session


@contextmanager
def monitored(assembly: Assembly, folder: RunFolder, session: Session) -> Iterator[list[Observer]]:
    """Takes snapshots of the network while it is open; yields the observers that this needs.

    Rows of later steps, of a run that was killed, are taken out of layers.jsonl. Of several ranks
    only rank 0 takes snapshots, of its shard of each batch.
    """
    share, state = assembly.recipe.monitor, assembly.state
    if not share or not session.ranks.is_main:
        yield []
        return
    keep_until(folder.layers, state.step)
    # Compiled or not, what the loop calls is a module.
    called = cast("nn.Module", assembly.training.forward)
    monitor = Monitor(called, state.transaction, path=folder.layers, share=share)
    monitor.step = state.step

    def go_back(event: Event) -> None:
        if isinstance(event, RolledBack):
            monitor.step = event.to
            monitor.not_finite = None
            keep_until(folder.layers, event.to)

    with monitor:
        yield [go_back]
