"""The processes of one distributed training, started by torchrun, and their collectives.

A single process is a group of size 1: every collective returns its input at no cost. All processes
call the same collectives in the same order; where one has died, the next call raises `PeerLost`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

from ravine.core.errors import RavineError, RunError
from ravine.core.launch import TorchrunVariables
from ravine.core.launch import is_distributed as is_distributed
from ravine.core.rendezvous import meet
from ravine.core.waits import Waits

_TIMEOUT = timedelta(hours=2)  # long enough to decode the images for the first time


class PeerLost(RunError):
    """Another process of the group ended; its own message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """One process of a group of `size`.

    Attributes:
        rank: in 0..size-1; rank 0 writes the run folder and prints.
        size: processes in all.
        local_rank: index of the process on this host, and of its GPU.
        local_size: processes on this host.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes and prints."""
        return self.rank == 0

    def all_reduce_sum(self, values: torch.Tensor) -> None:
        """Replaces `values` in place by their sum over all ranks.

        Args:
            values: of any shape, dtype and device, the same on all ranks.

        Raises:
            PeerLost: another process ended or cannot be reached.
        """
        if self.size > 1:
            with _reporting_lost_peers():
                dist.all_reduce(values)

    def all_reduce_max(self, *values: float) -> list[float]:
        """Returns the maximum of each value over all ranks.

        Raises:
            PeerLost: another process ended or cannot be reached.
        """
        if self.size == 1:
            return list(values)
        maxima = torch.tensor(values, dtype=torch.float64)
        with _reporting_lost_peers():
            dist.all_reduce(maxima, op=dist.ReduceOp.MAX)
        return maxima.tolist()

    def broadcast(self, *values: float) -> list[float]:
        """Returns the values of rank 0, so that decisions made from them are the same everywhere.

        Raises:
            PeerLost: another process ended or cannot be reached.
        """
        if self.size == 1:
            return list(values)
        sent = torch.tensor(values, dtype=torch.float64)
        self.broadcast_tensor(sent)
        return sent.tolist()

    def broadcast_text(self, text: str) -> str:
        """Returns the text of rank 0.

        Raises:
            PeerLost: another process ended or cannot be reached.
        """
        if self.size == 1:
            return text
        content = text.encode()
        (length,) = self.broadcast(len(content))
        sent = torch.zeros(int(length), dtype=torch.uint8)
        if self.is_main:
            sent.copy_(torch.from_numpy(np.frombuffer(content, np.uint8).copy()))
        self.broadcast_tensor(sent)
        return bytes(sent.tolist()).decode()

    def broadcast_tensor(self, values: torch.Tensor) -> None:
        """Replaces `values` in place by those of rank 0.

        Args:
            values: of any shape, dtype and device, the same on all ranks.

        Raises:
            PeerLost: another process ended or cannot be reached.
        """
        if self.size > 1:
            with _reporting_lost_peers():
                dist.broadcast(values, src=0)

    def barrier(self) -> None:
        """Returns when all ranks have reached this call.

        Raises:
            PeerLost: another process ended or cannot be reached.
        """
        self.all_reduce_max(0.0)

    def shard(self, count: int) -> tuple[int, int]:
        """Returns the first and the last index (exclusive) of this rank's shard of `count` items.

        >>> [Ranks(rank=r, size=3).shard(7) for r in range(3)]
        [(0, 2), (2, 4), (4, 7)]
        """
        return count * self.rank // self.size, count * (self.rank + 1) // self.size


ALONE = Ranks()
_WAITS = Waits()


@contextmanager
def _reporting_lost_peers() -> Iterator[None]:
    try:
        with _WAITS.open():
            yield
    except RuntimeError as error:
        if isinstance(error, RavineError | torch.cuda.OutOfMemoryError):
            raise
        raise PeerLost(
            "another process of this training ended, or cannot be reached; see what it said; "
            f"ravine resume goes on from the last checkpoint ({str(error).splitlines()[0][:120]})"
        ) from error


def join_ranks() -> Ranks:
    """Joins the group that torchrun started and returns this process's rank; else `ALONE`.

    Tensors on GPUs travel through NCCL, all others through gloo.

    Raises:
        SettingError: torchrun's variables are missing or impossible.
        RunError: the other processes cannot be reached.
    """
    own = TorchrunVariables.of(os.environ)
    if own is None:
        return ALONE
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        store = meet(own)
        with _reporting_lost_peers():
            dist.init_process_group(
                backend, store=store, rank=own.rank, world_size=own.size, timeout=_TIMEOUT
            )
        _WAITS.watch(rank=own.rank, size=own.size)
    return Ranks(rank=own.rank, size=own.size, local_rank=own.local_rank, local_size=own.local_size)
