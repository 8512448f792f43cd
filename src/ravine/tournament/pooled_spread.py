"""The spread of one run about its candidate and its seed, pooled over all candidates of a race.

Results are modelled as candidate + seed + chance. With k candidates on n seeds the residuals leave
(k − 1)(n − 1) degrees of freedom, where one pair alone leaves n − 1. Runs that broke are left out
here: their result is no chance about a mean.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

Results = Mapping[str, Mapping[int, float]]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PooledSpread:
    """Standard deviation of a run, and the degrees of freedom that it was estimated with.

    Attributes:
        of_run: standard deviation of one result; infinite where it cannot be estimated.
        freedom: degrees of freedom, at least 1.
    """

    of_run: float
    freedom: int


def complete(results: Results) -> dict[str, dict[int, float]]:
    """Returns results on every seed that any candidate finished; the worst where one is missing.

    The worst is 0, or the least result where that is lower.

    >>> complete({"a": {1: 0.9, 2: 0.8}, "b": {1: 0.7}})
    {'a': {1: 0.9, 2: 0.8}, 'b': {1: 0.7, 2: 0.0}}
    """
    seeds = sorted({seed for found in results.values() for seed in found})
    worst = min([0.0, *(v for found in results.values() for v in found.values())])
    return {name: {s: found.get(s, worst) for s in seeds} for name, found in results.items()}


def pooled_spread(results: Results, *, resolution: float = 0.0) -> PooledSpread:
    """Returns the spread of a run, from the runs that ended.

    Args:
        results: of each candidate that finished a run, by seed.
        resolution: how finely they are known; the spread is not taken for less than its rounding.

    >>> pooled_spread({"a": {1: 1.0, 2: 3.0}, "b": {1: 1.0, 2: 1.0}})
    PooledSpread(of_run=1.0, freedom=1)
    """
    names = [name for name, found in results.items() if len(found) > 1]
    seeds = sorted({seed for name in names for seed in results[name]})
    cells = [(results[name][s], i, j) for i, name in enumerate(names)
             for j, s in enumerate(seeds) if s in results[name]]  # fmt: skip
    freedom = len(cells) - len(names) - len(seeds) + 1
    if len(names) < 2 or freedom < 1:
        return PooledSpread(of_run=math.inf, freedom=1)
    design = np.zeros((len(cells), len(names) + len(seeds)))
    for row, (_, i, j) in enumerate(cells):
        design[row, i] = design[row, len(names) + j] = 1
    values = np.array([value for value, *_ in cells])
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    variance = float(((values - fitted) ** 2).sum()) / freedom
    floor = resolution / math.sqrt(12)
    return PooledSpread(of_run=round(max(math.sqrt(variance), floor), 12), freedom=freedom)
