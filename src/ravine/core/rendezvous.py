"""How the processes that torchrun started find each other, and what is said while some are missing.

Rank 0, or torchrun's own agent, keeps a store under MASTER_ADDR:MASTER_PORT. Each process enters
its rank there and waits for the others; after ten seconds it says for whom.
"""

import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import final

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from ravine.core.errors import RunError, SettingError

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
_SAID_AFTER, _SAID_EVERY = 10.0, 60.0  # seconds of waiting
_GIVES_UP_AFTER = 1800.0  # a cluster may start its last host late
_POLL = 0.1
_SHOWN = 8  # missing ranks in a line


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TorchrunVariables:
    """What torchrun tells each process of a training.

    Attributes:
        rank: in 0..size-1.
        size: processes in all.
        local_rank: in 0..local_size-1.
        local_size: processes on this host.
        address: of the host that keeps the store.
        port: of the store.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "TorchrunVariables | None":
        """Returns the variables of one process among several; None for a process alone.

        Raises:
            SettingError: some are missing, no numbers, or contradict each other.
        """
        names = (*_NUMBERS, "MASTER_ADDR")
        missing = [name for name in names if not environment.get(name, "").strip()]
        if "WORLD_SIZE" in missing and {"RANK", "MASTER_ADDR"} & set(missing):
            return None
        size = None if "WORLD_SIZE" in missing else _number(environment, "WORLD_SIZE")
        if size == 1:
            return None
        if missing:
            raise SettingError(
                f"{missing[0]} is not set, where other variables of torchrun are; start the "
                "processes with torchrun, or for one alone: unset WORLD_SIZE RANK"
            )
        numbers = {name: _number(environment, name) for name in _NUMBERS}
        _check_range("WORLD_SIZE", numbers["WORLD_SIZE"], 1, 2**20)
        _check_range("RANK", numbers["RANK"], 0, numbers["WORLD_SIZE"] - 1)
        _check_range("LOCAL_WORLD_SIZE", numbers["LOCAL_WORLD_SIZE"], 1, numbers["WORLD_SIZE"])
        _check_range("LOCAL_RANK", numbers["LOCAL_RANK"], 0, numbers["LOCAL_WORLD_SIZE"] - 1)
        _check_range("MASTER_PORT", numbers["MASTER_PORT"], 1, 2**16 - 1)
        return cls(
            rank=numbers["RANK"],
            size=numbers["WORLD_SIZE"],
            local_rank=numbers["LOCAL_RANK"],
            local_size=numbers["LOCAL_WORLD_SIZE"],
            address=environment["MASTER_ADDR"].strip(),
            port=numbers["MASTER_PORT"],
        )


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name].strip()
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
        raise SettingError(f"{name} must be a whole number, got {text[:40]!r}; torchrun sets it")
    return int(text[:12])


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SettingError(f"{name} must be in {low}..{high}, got {value}; torchrun sets it")


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
