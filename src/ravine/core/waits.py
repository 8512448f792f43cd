"""What a process of several says while it waits for the others: one thread watches its waits.

A host that is switched off, or whose cable is cut, tells nobody: the others stand in a collective
until the system gives the connection up, on Linux after a quarter of an hour.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

_SAID_AFTER, _SAID_EVERY = 60.0, 300.0  # seconds of waiting; decoding images takes longer
_POLL = 1.0


@final
class Waits:
    """The waits of one process, of which one is open at a time."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._says_at = 0.0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Notes that the process waits for as long as this is open."""
        since = time.monotonic()
        self._says_at = since + _SAID_AFTER
        self._since = since
        try:
            yield
        finally:
            self._since = None

    def line(self, *, rank: int, size: int) -> str | None:
        """Returns what is to be said now, None for nothing: once a minute is over, then rarely."""
        since, now = self._since, time.monotonic()
        if since is None or now < self._says_at:
            return None
        self._says_at = now + _SAID_EVERY
        return (
            f"rank {rank} of {size} has waited {now - since:.0f} s for the other processes; if one "
            "of them is lost, stop this one: ravine resume goes on from the last checkpoint"
        )

    def watch(self, *, rank: int, size: int) -> None:
        """Prints such lines on standard error from now on, from a thread of its own."""

        def run() -> None:
            while True:
                time.sleep(_POLL)
                if line := self.line(rank=rank, size=size):
                    print(f"ravine: {line}", file=sys.stderr, flush=True)

        threading.Thread(target=run, name="ravine-waits", daemon=True).start()
