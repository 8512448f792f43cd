"""How the processes that torchrun started find each other, and what is said while some are missing.

Rank 0, or torchrun's own agent, keeps a store under MASTER_ADDR:MASTER_PORT. Each process enters
its rank there and waits for the others; after ten seconds it says for whom.
"""

import os
import socket
import sys
import time
from datetime import timedelta
from typing import final

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from ravine.core.errors import RunError
from ravine.core.launch import TorchrunVariables

_SAID_AFTER, _SAID_EVERY = 10.0, 60.0  # seconds of waiting
_GIVES_UP_AFTER = 1800.0  # a cluster may start its last host late
_POLL = 0.1
_SHOWN = 8  # missing ranks in a line


def meet(own: TorchrunVariables) -> PrefixStore:
    """Returns the store of the group when every rank has entered itself in it.

    Raises:
        RunError: the port is taken, a rank is there twice, or ranks stay away for half an hour.
    """
    waiting = _Waiting(own)
    store = _store(own, waiting)
    if store.add(_key(own.rank), 1) > 1:
        raise RunError(
            f"rank {own.rank} is there twice at {own.address}:{own.port}; give each process its "
            "own RANK, and each training its own MASTER_PORT"
        )
    missing = list(range(own.size))
    while missing := [rank for rank in missing if not store.check([_key(rank)])]:
        waiting.tick(_ranks(missing))
    return store


@final
class _Waiting:
    """Says after ten seconds what a process waits for, and again every minute."""

    def __init__(self, own: TorchrunVariables) -> None:
        self._own = own
        self._since = time.monotonic()
        self._says_at = self._since + _SAID_AFTER

    def tick(self, what: str) -> None:
        """Waits a moment.

        Raises:
            RunError: it has been long enough.
        """
        own, now = self._own, time.monotonic()
        line = (
            f"rank {own.rank} of {own.size} has waited {now - self._since:.0f} s for {what} at "
            f"{own.address}:{own.port}"
        )
        if now - self._since > _GIVES_UP_AFTER:
            raise RunError(f"{line}, and gives up; start all processes, on every host")
        if now >= self._says_at:
            self._says_at = now + _SAID_EVERY
            print(f"ravine: {line}; is it started, on every host?", file=sys.stderr, flush=True)
        time.sleep(_POLL)


def _store(own: TorchrunVariables, waiting: _Waiting) -> PrefixStore:
    """Returns the store, which rank 0 keeps unless torchrun's agent does."""
    by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    keeps = own.rank == 0 and not by_agent
    while not keeps and not _answers(own):
        waiting.tick("rank 0" if not by_agent else "torchrun")
    try:
        store = TCPStore(
            own.address,
            own.port,
            own.size,
            is_master=keeps,
            timeout=timedelta(seconds=_GIVES_UP_AFTER),
            wait_for_workers=False,
        )
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0][:120]
        raise RunError(
            f"cannot open {own.address}:{own.port} for the other processes ({first}); is "
            "MASTER_ADDR this host, and MASTER_PORT free?"
        ) from error
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"ravine/{attempt}", store)


def _answers(own: TorchrunVariables) -> bool:
    try:
        socket.create_connection((own.address, own.port), timeout=2).close()
    except (OSError, UnicodeError):
        return False
    return True


def _key(rank: int) -> str:
    return f"here/{rank}"


def _ranks(missing: list[int]) -> str:
    shown = ", ".join(map(str, missing[:_SHOWN]))
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return f"{'rank' if len(missing) == 1 else 'ranks'} {shown}{more}"
