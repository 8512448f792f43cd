"""A session: what a command opens before it trains or runs a network, and closes after it.

One context manager holds the process's random state, its threads and how they wait, the ranks that
train together, the lock of a run folder, the observers and the clock of the budget, instead of a
guard in each command. Closing it restores random state and threads and releases the lock.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import final

import torch

from ravine.core.cores import describe_cores, threads_of_openmp, usable_cores
from ravine.core.device import threads_of_rank
from ravine.core.events import Event, Notice, Observer
from ravine.core.progress import Progress, no_progress
from ravine.core.ranks import ALONE, Ranks
from ravine.kernels.sleeping_threads import sleeps_when_busy
from ravine.runs.folder import RunFolder
from ravine.training.clock import Clock


@final
@dataclass(slots=True, kw_only=True)
class Session:
    """An open session.

    Attributes:
        ranks: the processes that train together.
        threads: of this process, once `use_threads` has set them.
        observers: functions that receive every event; of rank 0 only.
        progress: receives how far slow work has come; of rank 0 only.
        clock: of the budget; it starts when the data is ready.
    """

    ranks: Ranks = ALONE
    observers: Sequence[Observer] = ()
    progress: Progress = no_progress
    threads: int = 0
    clock: Clock = field(default_factory=Clock)
    _closing: ExitStack = field(default_factory=ExitStack)

    def emit(self, event: Event) -> None:
        """Passes an event to every observer."""
        for observer in self.observers:
            observer(event)

    def notify(self, text: str, *, warning: bool = False) -> None:
        """Passes a line of text to every observer."""
        self.emit(Notice(text=text, warning=warning))

    def use_threads(self, number: int) -> int:
        """Sets the threads of this process until the session closes, and returns their number.

        Args:
            number: of all ranks of this host together; 0 for what the process has.
        """
        before = torch.get_num_threads()
        self._closing.callback(torch.set_num_threads, before)
        # torchrun makes OpenMP use one thread, whatever the machine has.
        alone = self.ranks.size == 1
        own = number or min(before, usable_cores())
        torch.set_num_threads(own if alone else threads_of_rank(number, self.ranks))
        self.threads = torch.get_num_threads()
        if alone and (line := describe_cores(self.threads, asked=number or threads_of_openmp())):
            self.notify(line)
        return self.threads

    def start_clock(self) -> None:
        """Starts the clock of the budget."""
        self.clock = Clock()

    def hold(self, folder: RunFolder) -> None:
        """Locks a run folder until the session closes; rank 0 has the lock.

        Raises:
            RunError: another process trains this run.
        """
        if self.ranks.is_main:
            self._closing.enter_context(folder.locked())
            folder.sweep()
        self.ranks.barrier()


@contextmanager
def open_session(
    *,
    observers: Sequence[Observer] = (),
    progress: Progress = no_progress,
    ranks: Ranks = ALONE,
) -> Iterator[Session]:
    """Opens a session; closing it restores random state and threads and releases the lock."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with ExitStack() as closing, torch.random.fork_rng(devices=list(devices)), sleeps_when_busy():
        yield Session(
            ranks=ranks,
            observers=observers if ranks.is_main else (),
            progress=progress if ranks.is_main else no_progress,
            _closing=closing,
        )
