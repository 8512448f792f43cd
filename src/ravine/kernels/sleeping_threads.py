"""Waiting threads sleep while other processes want the cores, and spin while none does.

Threads of GNU's OpenMP, torch's and ours, wait for each other between two layers by spinning, which
is the fastest on a quiet machine. Where another process has taken a core, the threads that run spin
for one that does not, a time slice long: passes of 0.1 ms take 4 ms. Libgomp spins three hundred
times less in a process that manages more threads than there are cores; an idle team of threads
brings it there, and its end brings it back, which no setting of its own does once it runs.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from ravine.core.other_load import OtherLoad
from ravine.kernels.library import load_library, threads

_SAMPLED = 0.5  # seconds from one look at the load of others to the next
_MISSING = 0.3  # cores that others have taken from the threads, from which these sleep
_BACK = 0.15  # cores still missing with which they spin again
_QUIET = 3  # samples in succession
# Who sets these has decided it.
_DECIDED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_lock = threading.Lock()
_watcher: "_Watcher | None" = None


@contextmanager
def sleeps_when_busy() -> Iterator[None]:
    """Watches the other processes while it is open; also a decorator of a function.

    Nothing is done where the system does not tell (other than Linux), without the C library, and
    where GOMP_SPINCOUNT or OMP_WAIT_POLICY is set.
    """
    watcher = None if any(os.environ.get(name) for name in _DECIDED) else _only_watcher()
    if watcher is None:
        yield
        return
    watcher.enter()
    try:
        yield
    finally:
        watcher.leave()


def are_asleep() -> bool:
    """Returns whether waiting threads sleep now."""
    return _watcher is not None and _watcher.team.is_held


def _only_watcher() -> "_Watcher | None":
    """Returns the watcher of this process, started where there is none yet, as after a fork."""
    global _watcher
    with _lock:
        if _watcher is None or not _watcher.is_alive:
            load = OtherLoad()
            if not load.is_known:
                return None
            _watcher = _Watcher(load)
        return _watcher


@final
class IdleTeam:
    """A team of OpenMP's threads that do nothing; while it is held, waiting threads sleep."""

    def __init__(self) -> None:
        self._release = threading.Event()
        self._holder: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        """Whether the team is there."""
        return self._holder is not None

    def hold(self, size: int) -> None:
        """Starts a team of `size` threads, where there is none."""
        library = load_library()
        if self.is_held or library is None:
            return
        function, started = library.functions.ravine_idle_team, threading.Event()

        def hold() -> None:
            function(size)
            started.set()
            self._release.wait()  # a thread's team ends with it

        self._release.clear()
        self._holder = threading.Thread(target=hold, name="ravine idle team", daemon=True)
        self._holder.start()
        started.wait()

    def release(self) -> None:
        """Ends the team."""
        if self._holder is not None:
            self._release.set()
            self._holder.join()
            self._holder = None


@final
class _Watcher:
    """A thread that holds a team while there are users, and other processes want the cores.

    Args:
        load: of the other processes.
    """

    def __init__(self, load: OtherLoad) -> None:
        self.team = IdleTeam()
        self._load = load
        self._users = 0
        self._changed = threading.Condition()
        self._quiet = 0
        self._thread = threading.Thread(target=self._watch, name="ravine other load", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs: it does not in a fork."""
        return self._thread.is_alive()

    def enter(self) -> None:
        """Counts a user; a prediction of one image has no time for more."""
        with self._changed:
            self._users += 1
            if self._users == 1:
                self._changed.notify()

    def leave(self) -> None:
        """Counts a user less."""
        with self._changed:
            self._users -= 1
            if not self._users and self.team.is_held:
                self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._users and not self.team.is_held:
                    self._changed.wait()
                    self._load.cores()  # what was taken meanwhile does not count
                self._changed.wait(_SAMPLED)
                used = self._users > 0
            if used:
                self._decide(self._load.cores())
            else:
                self.team.release()

    def _decide(self, others: float) -> None:
        cores, own = len(os.sched_getaffinity(0)), threads()
        missing = missing_cores(own, cores=cores, others=others)
        if missing > _MISSING:
            self.team.hold(max(2, cores - own + 2))
        self._quiet = self._quiet + 1 if missing < _BACK else 0
        if self._quiet >= _QUIET:
            self.team.release()


def missing_cores(own: int, *, cores: int, others: float) -> float:
    """Returns how many of the cores that threads want others have taken from them, or 0.

    Args:
        own: threads; one alone waits for none.
        cores: that this process may use.
        others: cores that other processes keep busy.

    >>> missing_cores(2, cores=2, others=1.0)
    1.0
    >>> missing_cores(4, cores=16, others=11.5)
    0.0
    """
    return max(0.0, own - (cores - others)) if own > 1 else 0.0
