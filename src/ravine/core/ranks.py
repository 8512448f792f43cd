"""Several processes that train together, started by torchrun: who each is, and what they agree on.

One process alone is a group of one, for which every call is free and gives back what it was given.
All processes must make the same calls in the same order; where one has died, the next call ends
in `PeerLost`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import numpy as np
import torch
import torch.distributed as dist

from ravine.core.errors import RavineError, RunError

_PATIENCE = timedelta(hours=2)  # decoding the images for the first time is waited for
_TOLD_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")


class PeerLost(RunError):
    """Another process of the group ended; its own message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """One process among `size`.

    Attributes:
        rank: 0 writes the run folder and tells the user.
        size: processes in all.
        local_rank: the place on this host; its GPU.
        local_size: processes on this host.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def add_up(self, values: torch.Tensor) -> None:
        """Replaces `values` in place by their sum over all processes, on any device."""
        if self.size > 1:
            with _losses_told():
                dist.all_reduce(values)

    def agree(self, *values: float) -> list[float]:
        """Returns the leader's values, so that what follows from them is the same everywhere."""
        if self.size == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64)
        self.copy_from_leader(told)
        return told.tolist()

    def largest(self, *values: float) -> list[float]:
        """Returns the largest of each value over all processes."""
        if self.size == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64)
        with _losses_told():
            dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return told.tolist()

    def agree_on_text(self, text: str) -> str:
        """Returns the leader's text."""
        if self.size == 1:
            return text
        content = text.encode()
        (length,) = self.agree(len(content))
        told = torch.zeros(int(length), dtype=torch.uint8)
        if self.leads:
            told.copy_(torch.from_numpy(np.frombuffer(content, np.uint8).copy()))
        self.copy_from_leader(told)
        return bytes(told.tolist()).decode()

    def copy_from_leader(self, values: torch.Tensor) -> None:
        """Replaces `values` in place by the leader's."""
        if self.size > 1:
            with _losses_told():
                dist.broadcast(values, src=0)

    def wait(self) -> None:
        """Returns when all processes have come here."""
        self.largest(0.0)

    def shared_out(self, count: int) -> tuple[int, int]:
        """Returns the first and the last place (exclusive) of `count` that are this process's.

        >>> [Ranks(rank=r, size=3).shared_out(7) for r in range(3)]
        [(0, 2), (2, 4), (4, 7)]
        """
        return count * self.rank // self.size, count * (self.rank + 1) // self.size


ALONE = Ranks()


@contextmanager
def _losses_told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, RavineError | torch.cuda.OutOfMemoryError):
            raise
        raise PeerLost(
            "another process of this training ended, or cannot be reached; see what it said; "
            f"ravine resume goes on from the last checkpoint ({str(error).splitlines()[0][:120]})"
        ) from error


def started_with_others() -> bool:
    """Returns whether torchrun started this process as one of several."""
    told = all(name in os.environ for name in _TOLD_BY_TORCHRUN)
    return told and int(os.environ["WORLD_SIZE"]) > 1


def is_silent() -> bool:
    """Returns whether another process does the talking."""
    return started_with_others() and os.environ["RANK"] != "0"


def join_ranks() -> Ranks:
    """Joins the processes that torchrun started, and returns this one's place; else `ALONE`.

    GPUs talk through NCCL, the rest through gloo.
    """
    if not started_with_others():
        return ALONE
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with _losses_told():
            dist.init_process_group(backend, timeout=_PATIENCE)
    return Ranks(
        rank=dist.get_rank(),
        size=dist.get_world_size(),
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_size=int(os.environ["LOCAL_WORLD_SIZE"]),
    )


def leave(code: int | str | None) -> NoReturn:
    """Ends the process with this exit code, as `sys.exit` takes it."""
    if dist.is_available() and dist.is_initialized():
        # Without taking the group down: gloo's threads can wait for the interpreter's lock while
        # their end is waited for under that lock.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
    sys.exit(code)
