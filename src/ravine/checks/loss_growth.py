"""Losses that fall without limit and ever faster: a term whose sign is turned round.

A loss may fall without limit in proportion to an output, as a critic's does. One that falls as a
square or an exponential, on outputs that are made up one column at a time, is pulled there by
every step: a squared error or a divergence that is subtracted.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import value_of
from ravine.core.nested import map_tensors, tensors_in

_EXAMPLES, _COLUMNS = 16, 12  # of a batch, and columns of each output that are tried
_SIZES = (10.0, 100.0, 1000.0)
_STAYS = 1e-6  # of the loss, or of squared distances
_FASTER = 30.0  # factor of the fall, where the size is ten times larger: 10 is in proportion


def falls_ever_faster(context: CheckContext) -> Iterator[tuple[int, float]]:
    """Yields the first output, counted from 0, by which the loss falls so, with its fall."""
    sample, whole = context.samples[0], context.measured.outputs
    outs = [t for t in tensors_in(whole) if t.is_floating_point() and t.dim()]
    targets = _first(sample.targets, len(outs[0]) if outs else 0, len(sample))
    small = map_tensors(whole, lambda t: t[:_EXAMPLES].double() if _is_free(t) else t)
    targets = _first(targets, _EXAMPLES, len(outs[0]) if outs else 0)
    at = value_of(context.loss, small, targets)
    if not math.isfinite(at):
        return
    for index, out in enumerate(tensors_in(small)):
        if not _is_free(out):
            continue
        for column in _columns(out):
            for sign in (1.0, -1.0):
                values = [
                    value_of(context.loss, _with_column(small, index, column, sign * s), targets)
                    for s in _SIZES
                ]
                if _is_faster(at, values):
                    yield index, at - values[1]
                    return


def reads_distances(context: CheckContext) -> bool:
    """Returns whether the loss stays when one vector is added to all outputs (N, …, D).

    So a loss stays that reads how far outputs lie from each other, and nothing else of them.
    """
    whole, sample = context.measured.outputs, context.samples[0]
    outs = [t for t in tensors_in(whole) if _is_free(t)]
    widths = {t.shape[-1] for t in outs if t.dim() > 1}
    if len(widths) != 1 or any(t.dim() < 2 for t in outs):
        return False
    targets = _first(sample.targets, len(outs[0]), len(sample))
    generator = torch.Generator().manual_seed(0)
    way = torch.randn(widths.pop(), generator=generator, dtype=torch.float64).to(outs[0].device)
    size = float(torch.cat([t.flatten() for t in outs]).double().std())

    def value(by: float) -> float:
        moved = map_tensors(whole, lambda t: t.double() + by * way if _is_free(t) else t)
        return value_of(context.loss, moved, targets)

    at, beside = value(0.0), value(size)
    return size > 0 and math.isclose(at, beside, rel_tol=_STAYS, abs_tol=_STAYS * size * size)


def _is_free(t: Tensor) -> bool:
    return t.is_floating_point() and t.dim() > 0


def _first(targets: Any, count: int, size: int) -> Any:
    def cut(t: Tensor) -> Tensor:
        part = t[:count] if t.dim() and len(t) == size else t
        return part.double() if part.is_floating_point() else part

    return map_tensors(targets, cut)


def _columns(out: Tensor) -> list[int]:
    """Returns indices along the second axis, spread over it; 0 alone where there is none."""
    if out.dim() < 2:
        return [0]
    return sorted({round(k * (out.shape[1] - 1) / (_COLUMNS - 1)) for k in range(_COLUMNS)})


def _with_column(outputs: Any, index: int, column: int, size: float) -> Any:
    """Returns nested outputs with one column of one of them set to a size."""
    numbers = iter(range(len(tensors_in(outputs))))

    def change(t: Tensor) -> Tensor:
        if next(numbers) != index:
            return t
        other = t.clone()
        if other.dim() < 2:
            return torch.full_like(other, size)
        other[:, column] = size
        return other

    return map_tensors(outputs, change)


def _is_faster(at: float, values: list[float]) -> bool:
    """Returns whether the falls from `at` grow much faster than the sizes that they belong to."""
    if any(math.isnan(value) for value in values):
        return False
    first, second, third = (at - value for value in values)
    if second <= 0 or third <= 0 or not second > 1.0 + 1e-3 * abs(at):
        return False
    return third > _FASTER * second and (first <= 0 or second > _FASTER * first / 2)
