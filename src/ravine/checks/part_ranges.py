"""Outputs of several parts, of which one cannot reach what the loss wants of it.

Which target a part is compared with is known to the loss alone. So a part is set to one value
after another: where the least loss lies far outside the range of the part's last function, and
clearly below that of all values inside, no training gets there.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import value_of
from ravine.core.nested import map_tensors, tensors_in
from ravine.findings.finding import Finding
from ravine.findings.thresholds import OUT_OF_RANGE

_RANGES: Final = {"sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
_INSIDE = 10  # steps from end to end of the range
_BEYOND = tuple(2.0**k for k in range(-1, 13))  # of the range's length


def check_part_ranges(context: CheckContext) -> Iterator[Finding]:
    """Yields the first part of several outputs whose range does not hold its targets."""
    measured, sample = context.measured, context.samples[0]
    parts = tensors_in(measured.outputs)
    if len(parts) < 2 or len(parts) != len(measured.ends):
        return
    size = next((len(t) for t in parts if t.dim()), 0)
    targets = sample.first(size).targets
    for part, last in zip(parts, measured.ends, strict=True):
        if last not in _RANGES:
            continue
        found = _beyond(_loss_of(context, part, targets), *_RANGES[last])
        if found is not None:
            yield _out_of_range(last, *found)
            return


def _loss_of(context: CheckContext, part: Tensor, targets: Any) -> Callable[[float], float]:
    """Returns the loss as a function of one value that all numbers of a part have."""

    def loss_at(value: float) -> float:
        made_up = map_tensors(
            context.measured.outputs, lambda t: part * 0 + value if t is part else t
        )
        return value_of(context.loss, made_up, targets)

    return loss_at


def _beyond(
    loss_at: Callable[[float], float], low: float, high: float
) -> tuple[float, float, float] | None:
    """Returns the least loss inside a range, that outside, and the value there.

    None where it is no lower, where the loss refuses such values, or has no least value there.
    """
    length = high - low
    inside = [loss_at(low + length * k / _INSIDE) for k in range(_INSIDE + 1)]
    for start, sign in ((high, 1.0), (low, -1.0)):
        values = [start + sign * length * far for far in _BEYOND]
        losses = [loss_at(value) for value in values]
        if not all(map(math.isfinite, (*inside, *losses))):
            return None
        least = min(losses)
        is_low = 0 <= least < OUT_OF_RANGE * min(inside)
        if is_low and losses[-1] > min(inside):
            return min(inside), least, values[losses.index(least)]
    return None


def _out_of_range(last: str, inside: float, outside: float, value: float) -> Finding:
    low, high = _RANGES[last]
    return Finding(
        severity="warning",
        code="targets-not-scaled",
        seen=f"a part of the outputs ends in {last} ({low:g} to {high:g}), and the loss is least "
        f"near {value:.2g}: {outside:.3g}, and {inside:.3g} at best within the range",
        cause="its targets are in another unit, such as boxes in pixels",
        cure=f"divide the targets by what brings them into {low:g} to {high:g} (the image's size), "
        "or take the activation away",
        evidence={"inside": inside, "outside": outside, "value": value},
    )
