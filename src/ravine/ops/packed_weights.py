"""Weights as the library's products read them, kept while a network answers.

A convolution packs or transforms its weights at each call, which pays for a batch: for a single
image it takes longer than the products. Who calls a network again and again without training it
keeps them, for few images: they are packed at the first call, and anew where a weight has another
version.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from ravine.kernels.convolve import ConvolveJob, kernel_bytes
from ravine.ops.library_inputs import loaded_library

_FEW = 16  # images; with more, packing is lost among the products

_current: ContextVar["PackedWeights | None"] = ContextVar("packed_weights", default=None)


@dataclass(frozen=True, slots=True)
class _Packed:
    """One weight's packed form, and what it was made of: its address is not another's meanwhile."""

    weight: Tensor
    version: int
    kernels: Tensor

    def holds_for(self, weight: Tensor) -> bool:
        """Whether a weight at this address is the same still."""
        return self.version == _version(weight) and self.weight.shape == weight.shape


@final
@dataclass(slots=True)
class PackedWeights:
    """The packed weights of one network, by address of the weight, algorithm and type.

    They hold as long as weights are changed in ways that torch counts (`Tensor._version`): not by
    writing through `.data` or an address, as the optimizers of this package do.
    """

    _kept: dict[tuple[int, int, int], _Packed] = field(default_factory=dict)

    def fill(self, job: ConvolveJob, weight: Tensor) -> Tensor | None:
        """Gives a job of few images, forward and by vectors, the packed form of its weight.

        Args:
            job: of `weight`, (D, C, k, k) float32; filled up to its kernels.
            weight: that a module holds.

        Returns:
            Memory (n,) uint8 that the job packs into, for `keep` once it is done; None where the
            weight is packed already, or not kept.
        """
        if job.images > _FEW:
            return None
        found = self._kept.get(_key(job, weight))
        if found is not None and found.holds_for(weight):
            job.kernels, job.packed = found.kernels.data_ptr(), 1
            return None
        room = torch.empty(kernel_bytes(loaded_library(), job), dtype=torch.uint8)
        job.kernels = room.data_ptr()
        return room

    def keep(self, job: ConvolveJob, weight: Tensor, room: Tensor) -> None:
        """Keeps what a job has packed: only then may other calls, of other threads too, read it.

        Args:
            job: that is done.
            weight: as for `fill`.
            room: (n,) uint8, that `fill` returned.
        """
        self._kept[_key(job, weight)] = _Packed(weight, _version(weight), room)


def _key(job: ConvolveJob, weight: Tensor) -> tuple[int, int, int]:
    return weight.data_ptr(), job.algorithm, job.is_float32


def _version(weight: Tensor) -> int:
    return 0 if weight.is_inference() else weight._version


@contextmanager
def keep_packed_weights(packed: PackedWeights) -> Iterator[None]:
    """Keeps what convolutions pack inside that learn nothing, and takes it from there."""
    token = _current.set(packed)
    try:
        yield
    finally:
        _current.reset(token)


def packed_weights() -> PackedWeights | None:
    """Returns where packed weights are kept now; None where they are not."""
    return _current.get()
