"""A list of parameters on a device, stepped by Triton: one launch, or two with a decision.

Addresses, as in `ravine.kernels.optimizer_steps`: the caller holds the tensors, and has
checked that each fills its memory without gaps, and that those of one parameter are laid out
alike. Nothing here makes the host wait for the device, and only what has changed is sent to it.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.kernels import triton_rules, triton_steps
from ravine.kernels.triton_steps import COLUMNS, INTERPRETED, MODES
from ravine.kernels.variants import HYPER, VARIANTS

# How numbers are stored; an index of this tuple is the kind that the table has.
KINDS = (torch.float32, torch.float16, torch.bfloat16)
# What `counters` count, int64: steps, and the first skipped one, from 0, with what broke it.
COUNTERS = (
    "attempted", "applied", "skipped", "clipped", "streak", "first_step", "first_index",
)  # fmt: skip

_BLOCK = 1024  # elements that a program takes at a time
_PIECES = 2048  # that a large list is cut into at least: enough for every processor
_PARTS = 1024  # partial sums that are added at a time
_ALIGNED = 16  # bytes
# Each operation rounds, as on the other paths; memory is what a step waits for.
_OPTIONS = {"enable_fp_fusion": False}

__all__ = [
    "COUNTERS",
    "INTERPRETED",
    "KINDS",
    "Column",
    "Guard",
    "TensorList",
    "TritonTable",
    "new_counters",
    "try_out",
]  # fmt: skip

_Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Column:
    """Where N tensors lie, and how their numbers are stored.

    Attributes:
        addresses: N addresses.
        kinds: N indices of `KINDS`; -1 for a gradient that is missing.
    """

    addresses: Sequence[int]
    kinds: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class TensorList:
    """The parameters of one rule, N of them.

    Attributes:
        variant: the rule, a key of `VARIANTS`.
        sizes: number of elements of each.
        groups: the row of hyperparameters of each.
        weights: the parameters.
        states: a column for each tensor of the rule's state.
        steps: addresses of the int64 counts of applied steps.
        products: addresses of the float64 products of momenta, or none.
    """

    variant: str
    sizes: Sequence[int]
    groups: Sequence[int]
    weights: Column
    states: Sequence[Column]
    steps: Sequence[int]
    products: Sequence[int] | None


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What a step that may be refused is decided by.

    Attributes:
        loss: one number on the device.
        limit: of the global norm; infinite where nothing is clipped; a float64 number on the
            device is not read by the host.
        counters: (7,) int64 on the device, as `COUNTERS`; counted up by the step.
    """

    loss: Tensor
    limit: float | Tensor
    counters: Tensor


def new_counters(device: torch.device) -> Tensor:
    """Returns counters before the first step, (7,) int64 in the order of `COUNTERS`."""
    return torch.tensor([0, 0, 0, 0, 0, -1, -1], dtype=torch.int64, device=device)


def try_out() -> None:
    """Runs one kernel on the current GPU: raises the error that prevents it."""
    device = torch.device("cuda", torch.cuda.current_device())
    nowhere = Column(addresses=[0], kinds=[0])
    batch = TensorList(
        variant="momentum",
        sizes=[0],
        groups=[0],
        weights=nowhere,
        states=[nowhere],
        steps=[0],
        products=None,
    )
    TritonTable([batch], device).measure()


class TritonTable:
    """A list of N parameters as the kernels read it.

    Args:
        batches: the parameters by rule; at least one in all.
        device: where they are.
        block: elements that a program takes at a time, a power of 2.
        pieces: how many pieces a large list is cut into at least.

    Attributes:
        launches: kernels launched so far.
    """

    def __init__(
        self,
        batches: Sequence[TensorList],
        device: torch.device,
        *,
        block: int = _BLOCK,
        pieces: int = _PIECES,
    ) -> None:
        self.launches = 0
        self._device, self._block, self._batches = device, block, list(batches)
        cut, counts = _cut(np.array([n for b in batches for n in b.sizes]), block, pieces)
        rows = _rows(self._batches, counts)
        kinds, addresses = rows[:, COLUMNS.index("w_kind") :], rows[:, : COLUMNS.index("k")]
        self._is_mixed, self._is_aligned = bool(kinds.any()), not (addresses % _ALIGNED).any()
        ends = np.cumsum([0, *(len(b.sizes) for b in batches)])
        borders = np.cumsum([0, *counts])[ends].tolist()
        self._spans = list(pairwise(borders))
        self._rows, self._counts = rows, self._sent(counts)
        self._table, self._pieces = self._sent(rows), self._sent(cut)
        self._gradients = self._sent(np.zeros((len(rows), 2), dtype=np.int64))
        self._tickets = torch.zeros(len(rows), dtype=torch.int32, device=device)
        self._partial = torch.zeros(len(cut), dtype=torch.float64, device=device)
        self._hyper = torch.zeros((0, len(HYPER)), dtype=torch.float64, device=device)
        self._limit = torch.zeros((), dtype=torch.float64, device=device)
        self._found: list[int] = []
        self._flags = False, False
        self._numbers: list[list[float]] = []
        self._limit_was = 0.0

    def set_indices(self, indices: Sequence[int]) -> None:
        """Sets the N numbers that the parameters go by in `bad`."""
        column = COLUMNS.index("index")
        if self._rows[:, column].tolist() != list(indices):
            self._rows[:, column] = indices
            self._table = self._sent(self._rows)

    def point_at(self, gradients: Column) -> None:
        """Sets where the gradients lie now."""
        found = [*gradients.addresses, *gradients.kinds]
        if found == self._found:
            return
        self._found = found
        pairs = np.array(found, dtype=np.int64).reshape(2, -1)
        held = pairs[:, pairs[1] >= 0]
        self._flags = (
            self._is_mixed or bool(held[1].any()),
            self._is_aligned and not (held[0] % _ALIGNED).any(),
        )
        self._gradients.copy_(self._staged(np.ascontiguousarray(pairs.T)), non_blocking=True)

    def set_numbers(self, rows: Sequence[Sequence[float | Tensor]]) -> None:
        """Sets the hyperparameters, a row of `HYPER` for each group.

        Numbers that are on the device already, 0-dim, are copied there.
        """
        numbers = [[0.0 if isinstance(x, Tensor) else float(x) for x in row] for row in rows]
        there = [
            (r, c, x)
            for r, row in enumerate(rows)
            for c, x in enumerate(row)
            if isinstance(x, Tensor)
        ]
        if numbers != self._numbers or there:
            if len(numbers) != len(self._hyper):
                self._hyper = self._hyper.new_zeros((len(numbers), len(HYPER)))
            self._hyper.copy_(self._staged(np.array(numbers)), non_blocking=True)
            self._numbers = numbers
        for r, c, x in there:
            self._hyper[r, c].copy_(x, non_blocking=True)

    def step(self, ok: Tensor | None = None) -> None:
        """Takes one step; none where `ok`, 0-dim bool on the device, is False. One launch a rule."""
        flag = None if ok is None else ok.detach().reshape(1).view(torch.uint8)
        self._launch("always" if flag is None else "flagged", flag=flag)

    def guarded_step(self, guard: Guard) -> Tensor:
        """Decides, and takes the step or leaves everything as it was. One launch more.

        Returns:
            (4,) float64: norm; scale; the bytes of bad, int64; of ok, bool.
        """
        self.measure()
        record = torch.empty(4, dtype=torch.float64, device=self._device)
        self._launch("decides", guard=guard, record=record)
        return record

    def measure(self) -> None:
        """Sums up the squares of the gradients, for `sums`. One launch."""
        mixed, aligned = self._flags
        with self._current():
            triton_steps.squares[(len(self._partial),)](
                self._gradients, self._pieces, self._partial,
                MIXED=mixed, ALIGNED=aligned, BLOCK=self._block, **_OPTIONS,
            )  # fmt: skip
        self.launches += 1

    def sums(self) -> Tensor:
        """Returns the sum of the squares of each gradient as it was last measured, (N,)."""
        return torch.segment_reduce(self._partial, "sum", lengths=self._counts, unsafe=True)

    def _launch(
        self,
        mode: str,
        *,
        flag: Tensor | None = None,
        guard: Guard | None = None,
        record: Tensor | None = None,
    ) -> None:
        mixed, aligned = self._flags
        limit = self._limit if guard is None else self._limit_of(guard.limit)
        with self._current():
            for batch, (first, end) in zip(self._batches, self._spans, strict=True):
                triton_steps.step[(end - first,)](
                    self._table, self._gradients, self._pieces, self._hyper, self._tickets,
                    first,
                    self._tickets if flag is None else flag,
                    self._partial, len(self._partial),
                    limit if guard is None else guard.loss, limit,
                    self._partial if record is None else record,
                    self._tickets if guard is None else guard.counters,
                    RULE=getattr(triton_rules, batch.variant),
                    TWO=len(VARIANTS[batch.variant]) > 1,
                    PRODUCT=batch.products is not None,
                    MODE=MODES.index(mode), MIXED=mixed, ALIGNED=aligned,
                    BLOCK=self._block, PARTS=_PARTS, **_OPTIONS,
                )  # fmt: skip
                self.launches += 1

    def _limit_of(self, limit: float | Tensor) -> Tensor:
        if isinstance(limit, Tensor):
            return limit.to(self._device, torch.float64, non_blocking=True)
        if limit != self._limit_was:
            self._limit.fill_(limit)
            self._limit_was = limit
        return self._limit

    def _current(self) -> AbstractContextManager[object]:
        # Triton launches on the current device, wherever the addresses are.
        on_cpu = self._device.type == "cpu"
        return nullcontext() if on_cpu else torch.cuda.device(self._device)

    def _sent(self, array: _Integers) -> Tensor:
        return self._staged(array).to(self._device, non_blocking=True, copy=True)

    def _staged(self, array: NDArray[np.generic]) -> Tensor:
        """Returns a copy that the device can fetch while the host goes on.

        torch keeps pinned memory until what has been asked of it is done, and gives another part
        of it meanwhile: a copy in flight is never written over.
        """
        plain = torch.from_numpy(array)
        return plain if self._device.type == "cpu" else plain.pin_memory()


def _rows(batches: Sequence[TensorList], counts: _Integers) -> _Integers:
    """Returns a row of `COLUMNS` for each parameter."""
    made = []
    for batch in batches:
        n = len(batch.sizes)
        missing = Column(addresses=[0] * n, kinds=[0] * n)
        state0, state1 = [*batch.states, missing][:2]
        columns = {
            "w": batch.weights.addresses,
            "state0": state0.addresses,
            "state1": state1.addresses,
            "k": batch.steps,
            "mu": batch.products or missing.addresses,
            "group": batch.groups,
            "w_kind": batch.weights.kinds,
            "state0_kind": state0.kinds,
            "state1_kind": state1.kinds,
        }
        made.append([columns.get(name, missing.addresses) for name in COLUMNS])
    rows = np.concatenate([np.array(one, dtype=np.int64).T for one in made])
    rows[:, COLUMNS.index("index")] = np.arange(len(rows))
    rows[:, COLUMNS.index("count")] = counts
    return np.ascontiguousarray(rows)


def _cut(sizes: _Integers, block: int, least: int) -> tuple[_Integers, _Integers]:
    """Cuts tensors into pieces of (tensor, start, elements), and says how many each has.

    A piece has whole blocks, but for a tensor's last. The larger the list the larger they are, so
    that there are never many more than the list has tensors: each program adds up all their sums.
    An empty tensor has one piece, which counts its steps.
    """
    share = max(1, int(sizes.sum()) // (least * block))
    size = block * 2 ** (share.bit_length() - 1)
    counts = np.maximum(1, -(-sizes // size)).astype(np.int64)
    tensor = np.repeat(np.arange(len(sizes)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    start = (np.arange(len(tensor)) - first) * size
    n = np.minimum(sizes[tensor] - start, size)
    return np.stack([tensor, start, n], axis=1).astype(np.int64), counts
