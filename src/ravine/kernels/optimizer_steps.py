"""Optimizer steps and norms of gradients on the CPU: one call, one pass, every tensor.

Addresses, not tensors: the caller holds the tensors, and has checked that each is float32
on the CPU and fills its memory without gaps or overlaps, and that the tensors of one parameter
are laid out alike.
"""

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ravine.kernels.library import Library, threads
from ravine.kernels.variants import HYPER, VARIANTS

# As struct tensor and struct piece in c/steps.h.
_TENSOR = np.dtype(
    [("w", "u8"), ("g", "u8"), ("state0", "u8"), ("state1", "u8"), ("k", "u8"), ("mu", "u8"),
     ("group", "i8")]
)  # fmt: skip
_RANGE = np.dtype([("tensor", "i8"), ("start", "i8"), ("n", "i8")])
# Elements that a thread takes at a time: enough to be worth scheduling, and for large
# tensors little beside the step, since threads wait at its end for the one that has the last unit.
_LEAST_UNIT, _MOST_UNIT, _UNITS_PER_THREAD = 32_768, 65_536, 4
# Elements that are summed on their own. Fixed, so that norms do not depend on the threads.
_PIECE = 32_768

_Addresses = Sequence[int]


class StepTable:
    """The parameters that one rule steps together, as the library reads them.

    Args:
        library: the library.
        variant: the rule, a key of `VARIANTS`.
        sizes: number of elements of each of the N parameters.
        groups: the row of hyperparameters of each.
        weights: addresses of the parameters.
        states: addresses of the state's tensors, one sequence of N for each.
        steps: addresses of the int64 counts of applied steps.
        products: addresses of the float64 products of momenta, or none.
    """

    def __init__(
        self,
        library: Library,
        variant: str,
        *,
        sizes: Sequence[int],
        groups: Sequence[int],
        weights: _Addresses,
        states: Sequence[_Addresses],
        steps: _Addresses,
        products: _Addresses | None,
    ) -> None:
        self._library = library
        self._rule = list(VARIANTS).index(variant)
        self._table = np.zeros(len(sizes), dtype=_TENSOR)
        self._table["group"] = groups
        self._table["w"] = weights
        for name, column in zip(("state0", "state1"), states, strict=False):
            self._table[name] = column
        self._table["k"] = steps
        if products is not None:
            self._table["mu"] = products
        self._pieces, self._units = _plan(np.asarray(sizes, dtype=np.int64))
        self._partial = np.zeros(max(1, len(self._pieces)))
        self._sums = np.zeros(max(1, len(sizes)))

    def point_at(self, gradients: _Addresses) -> None:
        """Sets where the gradients lie now; 0 for a parameter without one."""
        self._table["g"] = gradients

    def squares(self) -> NDArray[np.float64]:
        """Returns the sum of the squares of each gradient, (N,); 0 where there is none.

        Valid until the next call. Finite gradients have finite sums.
        """
        self._library.functions.ravine_squares(
            ctypes.c_int32(self._library.level),
            *self._shared(),
            _address(self._partial),
            _address(self._sums),
            ctypes.c_int32(threads()),
        )
        return self._sums[: len(self._table)]

    def step(self, hyper: NDArray[np.float64], *, flush: bool) -> None:
        """Takes one step.

        Args:
            hyper: (groups, 7) float64, a row of `HYPER` for each group.
            flush: numbers below 1.2e-38 count as zero, which is faster.
        """
        assert hyper.shape[1:] == (len(HYPER),), hyper.shape
        rows = np.ascontiguousarray(hyper, dtype=np.float64)
        self._library.functions.ravine_step(
            ctypes.c_int32(self._library.level),
            ctypes.c_int32(self._rule),
            *self._shared(),
            _address(rows),
            ctypes.c_int32(flush),
            ctypes.c_int32(threads()),
        )

    def _shared(self) -> tuple[object, ...]:
        return (
            _address(self._table),
            ctypes.c_int64(len(self._table)),
            _address(self._pieces),
            _address(self._units),
            ctypes.c_int64(len(self._units) - 1),
        )


def _address(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _plan(sizes: NDArray[np.int64]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Cuts tensors into pieces, and gathers consecutive pieces into units of work."""
    counts = -(-sizes // _PIECE)
    tensor = np.repeat(np.arange(len(sizes)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    start = (np.arange(len(tensor)) - first) * _PIECE
    pieces = np.zeros(len(tensor), dtype=_RANGE)
    pieces["tensor"], pieces["start"] = tensor, start
    pieces["n"] = np.minimum(sizes[tensor] - start, _PIECE)
    share = int(sizes.sum()) // (threads() * _UNITS_PER_THREAD)
    size = min(max(share, _LEAST_UNIT), _MOST_UNIT)
    # A unit ends where the elements so far reach the next multiple of its size.
    unit = (np.cumsum(pieces["n"]) - 1) // size
    borders = np.flatnonzero(np.diff(unit)) + 1
    units = np.concatenate([[0], borders, [len(pieces)]]).astype(np.int64)
    return pieces, units
