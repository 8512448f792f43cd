"""The difference of two figures with its interval: of accuracies, paired by image or not; of mAP.

Paired, what two networks do alike on an image drops out, which makes the interval several times
narrower. The intervals are about these images: another seed of the same recipe differs as well,
which only several runs can tell (`ravine race`).
"""

import math
from dataclasses import dataclass
from typing import final

from ravine.core.wilson_interval import wilson_interval

_Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One accuracy less another.

    Attributes:
        value: in [-1, 1].
        interval: 95 %.
        paired: images that both were asked; 0 where they are not the same images.
        only_first: of these, images that only the first classifies correctly.
        only_second: images that only the second classifies correctly.
        p: two-sided, that both are equally accurate; None where it is not paired.
    """

    value: float
    interval: tuple[float, float]
    paired: int = 0
    only_first: int = 0
    only_second: int = 0
    p: float | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.interval[0] <= 0 <= self.interval[1]


def paired_difference(only_first: int, only_second: int, count: int) -> Difference:
    """Returns first − second on the same images.

    The interval is Bonett and Price's adjusted Wald interval (2012), the p that of McNemar's exact
    test.

    Args:
        only_first: images that only the first classifies correctly.
        only_second: images that only the second classifies correctly.
        count: images in all, at least 1.

    >>> found = paired_difference(30, 12, 1000)
    >>> round(found.value, 3), [round(v, 4) for v in found.interval], round(found.p, 4)
    (0.018, [0.005, 0.0309], 0.0079)
    """
    first, second = ((n + 1) / (count + 2) for n in (only_first, only_second))
    middle = first - second
    half = _Z95 * math.sqrt((first + second - middle**2) / (count + 2))
    return Difference(
        value=(only_first - only_second) / count,
        interval=(max(-1.0, middle - half), min(1.0, middle + half)),
        paired=count,
        only_first=only_first,
        only_second=only_second,
        p=_mcnemar(only_first, only_second),
    )


def _mcnemar(first: int, second: int) -> float:
    """Returns the two-sided p of `first` heads in `first + second` throws of a fair coin."""
    count, least = first + second, min(first, second)
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        for k in range(least + 1)
    ]
    tail = math.fsum(math.exp(value - count * math.log(2)) for value in logs)
    return min(1.0, 2 * tail)


def unpaired_difference(hits: tuple[int, int], counts: tuple[int, int]) -> Difference:
    """Returns first − second where each was asked images of its own (Newcombe 1998, method 10).

    Args:
        hits: correct classifications of the first and of the second.
        counts: their images, at least 1 each.

    >>> found = unpaired_difference((56, 48), (70, 80))
    >>> round(found.value, 4), [round(v, 4) for v in found.interval]
    (0.2, [0.0524, 0.3339])
    """
    first, second = hits[0] / counts[0], hits[1] / counts[1]
    return difference_of(
        (first, second),
        (wilson_interval(hits[0], counts[0]), wilson_interval(hits[1], counts[1])),
    )


def difference_of(
    values: tuple[float, float], intervals: tuple[tuple[float, float], tuple[float, float]]
) -> Difference:
    """Returns first − second of two independent figures with their 95 % intervals, such as mAPs.

    The squares of the distances to the bounds are added (Zou and Donner 2008).

    >>> found = difference_of((0.75, 0.5), ((0.72, 0.78), (0.46, 0.54)))
    >>> found.value, [round(v, 3) for v in found.interval]
    (0.25, [0.2, 0.3])
    """
    (low_first, high_first), (low_second, high_second) = intervals
    value = values[0] - values[1]
    low = value - math.hypot(values[0] - low_first, high_second - values[1])
    high = value + math.hypot(high_first - values[0], values[1] - low_second)
    return Difference(value=value, interval=(low, high))
