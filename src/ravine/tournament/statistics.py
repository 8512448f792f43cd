"""The statistics of a race: paired by seed, with intervals, corrected for many comparisons.

Two candidates are compared by the differences of their results on the same seeds: a t test, since
three or five differences are too few for a bootstrap, and Holm's correction (1979) over all pairs.
Two whose corrected p is not below 0.05 are tied. A time that was never reached is infinite.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    from scipy import special
else:
    special = lazy_module("scipy.special")

LEVEL = 0.05


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One candidate against another.

    Attributes:
        first: the one with the higher mean.
        second: the other.
        difference: mean of first − second over the seeds that both ran on.
        interval: of the difference, at 95 % for all pairs together (Bonferroni).
        p: of no difference, corrected by Holm.
        seeds: that both ran on.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float]
    p: float
    seeds: int

    @property
    def tied(self) -> bool:
        """Whether the difference is not significant."""
        return not self.p < LEVEL


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An candidate in the table.

    Attributes:
        name: of the candidate.
        mean: of its results; NaN if it has none.
        interval: 95 %, of the mean over the seeds (t).
        rank: 1 + the number of significantly better candidates.
        tied: candidates without a significant difference.
        results: by seed.
    """

    name: str
    mean: float
    interval: tuple[float, float]
    rank: int
    tied: tuple[str, ...]
    results: Mapping[int, float]


def mean_interval(
    values: Sequence[float], *, level: float = LEVEL, resolution: float = 0.0
) -> tuple[float, float, float]:
    """Returns the mean and its interval by Student's t; infinite from one value alone.

    Args:
        values: independent, such as one per seed.
        level: probability that the interval misses.
        resolution: how finely the values are known; their spread is not taken for less than
            two such roundings make, so that three equal differences are no certainty.

    >>> tuple(round(v, 3) for v in mean_interval([1.0, 2.0, 3.0]))
    (2.0, -0.484, 4.484)
    """
    mean, error = _mean_error(values, resolution)
    if not math.isfinite(error):
        return mean, -math.inf, math.inf
    half = -float(special.stdtrit(len(values) - 1, level / 2)) * error
    return mean, mean - half, mean + half


def _mean_error(values: Sequence[float], resolution: float) -> tuple[float, float]:
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.inf
    spread = max(float(np.std(values, ddof=1)), resolution / math.sqrt(6))
    return mean, spread / math.sqrt(len(values))


def p_value(values: Sequence[float], *, resolution: float = 0.0) -> float:
    """Returns the two-sided p that the mean is 0; 1 where nothing differs or one value is all."""
    mean, error = _mean_error(values, resolution)
    if mean == 0 or not math.isfinite(error):
        return 1.0
    if error == 0:
        return 0.0
    return float(2 * special.stdtr(len(values) - 1, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p values corrected for their number (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = largest
    return corrected


def compare(
    results: Mapping[str, Mapping[int, float]], *, resolution: float = 0.0
) -> list[Comparison]:
    """Returns every pair, compared on the seeds that both ran on.

    Args:
        results: of each candidate, by seed; higher is better.
        resolution: how finely they are known, 1/N for a share of N images.
    """
    pairs = list(itertools.combinations([name for name in results if results[name]], 2))
    raw: list[tuple[str, str, list[float]]] = []
    for one, other in pairs:
        seeds = sorted(set(results[one]) & set(results[other]))
        differences = [results[one][s] - results[other][s] for s in seeds]
        if differences and np.mean(differences) < 0:
            one, other, differences = other, one, [-d for d in differences]
        raw.append((one, other, differences or [0.0]))
    corrected = holm([p_value(d, resolution=resolution) for *_, d in raw])
    found = []
    for (one, other, differences), p in zip(raw, corrected, strict=True):
        mean, low, high = mean_interval(differences, level=LEVEL / len(raw), resolution=resolution)
        found.append(
            Comparison(
                first=one,
                second=other,
                difference=mean,
                interval=(low, high),
                p=p,
                seeds=len(differences),
            )
        )
    return found


def standings(
    results: Mapping[str, Mapping[int, float]], *, resolution: float = 0.0
) -> tuple[list[Standing], list[Comparison]]:
    """Returns the table, best mean first, those without a result last, and every comparison."""
    comparisons = compare(results, resolution=resolution)
    found = []
    for name, values in results.items():
        mean, low, high = math.nan, math.nan, math.nan
        if values:
            mean, low, high = mean_interval(list(values.values()), resolution=resolution)
        lost = [c for c in comparisons if c.second == name and not c.tied]
        tied = [c for c in comparisons if name in (c.first, c.second) and c.tied]
        rank = 1 + len(lost) if values else len(results)
        found.append(
            Standing(
                name=name,
                mean=mean,
                interval=(low, high),
                rank=rank,
                tied=tuple(c.second if c.first == name else c.first for c in tied),
                results=dict(values),
            )
        )
    found.sort(key=lambda s: (-s.mean if s.results else math.inf, s.name))
    return found, comparisons


def verdict(table: Sequence[Standing], comparisons: Sequence[Comparison]) -> str:
    """Returns the winner in one sentence; without a significant difference, who is tied."""
    ran = [standing for standing in table if standing.results]
    if not ran:
        return "No candidate finished a run on fresh seeds, so that nothing can be said."
    best = ran[0]
    if len(ran) == 1:
        return f"{best.name} is the only one that finished."
    if all(len(standing.results) < 2 for standing in ran):
        return (
            f"{best.name} came out ahead on one seed; one seed decides nothing: "
            "give --seeds 3 or more."
        )
    if not best.tied:
        return f"{best.name} wins: it is better than every other, beyond doubt at 95 %."
    beaten = sum(1 for c in comparisons if not c.tied and best.name == c.first)
    names = ", ".join([best.name, *(s.name for s in ran if s.name in best.tied)])
    rest = f"; better beyond doubt than {beaten} other{'s' if beaten > 1 else ''}" if beaten else ""
    return f"Tied, not significantly different: {names}. {best.name} has the best mean{rest}."


def time_to(target: float, curve: Sequence[tuple[float, float]]) -> float:
    """Returns the first time at which a curve of (time, value) reaches the target, else infinity.

    >>> time_to(0.8, [(1, 0.5), (2, 0.85), (3, 0.7)]), time_to(0.9, [(1, 0.5)])
    (2, inf)
    """
    return next((when for when, value in curve if value >= target), math.inf)


def median_time(times: Sequence[float]) -> float:
    """Returns the upper median, which is infinite where half of them never arrived.

    >>> median_time([3.0, math.inf, 2.0]), median_time([3.0, math.inf])
    (3.0, inf)
    """
    return sorted(times)[len(times) // 2] if times else math.inf
