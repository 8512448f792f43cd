"""The statistics of a race: paired by seed, with intervals, corrected for many comparisons.

Two candidates are compared by the differences of their results on the same seeds, by Student's t
with a spread that is pooled over all candidates (`pooled_spread.py`: three differences alone would
leave two degrees of freedom), and Holm's correction (1979) over all pairs. Two whose corrected p
is not below 0.04 are tied. A run that broke is a result, the worst; so is a seed that only others
finished. A time that was never reached is infinite.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from ravine.core.counted import counted
from ravine.core.student_t import student_t_cdf, student_t_quantile
from ravine.tournament.pooled_spread import PooledSpread, complete, pooled_spread

LEVEL = 0.04  # so that false winners, counted with the error of a count, stay under 5 %


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One candidate against another.

    Attributes:
        first: the one with the higher mean.
        second: the other.
        difference: mean of first − second over the seeds, broken runs counted as the worst.
        interval: of the difference, at 96 % for all pairs together (Bonferroni).
        p: of no difference, corrected by Holm.
        seeds: that at least one candidate finished.
        visible: least difference that could have been significant for all pairs together.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float]
    p: float
    seeds: int
    visible: float = math.inf

    @property
    def tied(self) -> bool:
        """Whether the difference is not significant."""
        return not self.p < LEVEL


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A candidate in the table.

    Attributes:
        name: of the candidate.
        mean: of its results; NaN if it has none.
        interval: 95 %, of the mean over the seeds (t); of shares within 0 and 1.
        rank: 1 + the number of significantly better candidates.
        tied: candidates without a significant difference.
        results: by seed, of the runs that ended.
        broken: seeds that others finished and this one did not.
    """

    name: str
    mean: float
    interval: tuple[float, float]
    rank: int
    tied: tuple[str, ...]
    results: Mapping[int, float]
    broken: tuple[int, ...] = ()


def mean_interval(
    values: Sequence[float], *, level: float = 0.05, resolution: float = 0.0
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
    half = -student_t_quantile(len(values) - 1, level / 2) * error
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
    return 2 * student_t_cdf(len(values) - 1, -abs(mean) / error)


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
    """Returns every pair of candidates that finished a run.

    Args:
        results: of each candidate, by seed; higher is better. A seed that a candidate lacks and
            another has counts as the worst result there is.
        resolution: how finely they are known, 1/N for a share of N images.
    """
    ran = {name: dict(found) for name, found in results.items() if found}
    spread, whole = pooled_spread(ran, resolution=resolution), complete(ran)
    raw = []
    for one, other in itertools.combinations(ran, 2):
        differences = [whole[one][s] - whole[other][s] for s in whole[one]]
        if np.mean(differences) < 0:
            one, other, differences = other, one, [-d for d in differences]
        is_broken = len(ran[one]) < len(whole[one]) or len(ran[other]) < len(whole[other])
        tested = _tested(differences, spread, resolution, is_broken=is_broken)
        if is_broken and len(ran[other]) < len(whole[other]):
            tested = _without_broken(tested, ran[one], ran[other], spread, resolution)
        raw.append((one, other, *tested))
    corrected = holm([p for *_, p in raw])
    return [
        _comparison(one, other, mean, error, freedom, p, len(raw), len(whole[one]))
        for (one, other, mean, error, freedom, _), p in zip(raw, corrected, strict=True)
    ]


def _tested(
    differences: Sequence[float], spread: PooledSpread, resolution: float, *, is_broken: bool
) -> tuple[float, float, int, float]:
    """Returns mean, standard error, degrees of freedom and p of one pair.

    The pair's own spread counts where a run broke, and wherever it is larger than the pooled one.
    """
    mean, own = _mean_error(differences, resolution)
    pooled = spread.of_run * math.sqrt(2 / len(differences))
    error, freedom = pooled, spread.freedom
    if len(differences) < 2 or not math.isfinite(pooled):
        error = math.inf
    elif is_broken or own > pooled:
        error = max(own, pooled)
        freedom = len(differences) - 1 if is_broken else freedom
    if mean == 0 or not math.isfinite(error):
        return mean, error, freedom, 1.0
    if error == 0:
        return mean, error, freedom, 0.0
    return mean, error, freedom, 2 * student_t_cdf(freedom, -abs(mean) / error)


def _without_broken(
    whole: tuple[float, float, int, float],
    one: Mapping[int, float],
    other: Mapping[int, float],
    spread: PooledSpread,
    resolution: float,
) -> tuple[float, float, int, float]:
    """Returns the test of a pair whose loser broke; that of the seeds both finished, if clearer.

    A candidate that loses clearly where it ran does not come closer by breaking elsewhere.
    """
    common = [one[s] - other[s] for s in one if s in other]
    if len(common) < 2:
        return whole
    mean, error, freedom, p = _tested(common, spread, resolution, is_broken=False)
    if mean <= 0 or p >= whole[3]:
        return whole
    return whole[0], min(error, whole[1]), freedom, p


def _comparison(
    one: str, other: str, mean: float, error: float, freedom: int, p: float, pairs: int, seeds: int
) -> Comparison:
    half = math.inf
    if math.isfinite(error):
        half = -student_t_quantile(freedom, LEVEL / pairs / 2) * error
    return Comparison(
        first=one,
        second=other,
        difference=mean,
        interval=(mean - half, mean + half),
        p=p,
        seeds=seeds,
        visible=half,
    )


def standings(
    results: Mapping[str, Mapping[int, float]], *, resolution: float = 0.0
) -> tuple[list[Standing], list[Comparison]]:
    """Returns the table, best mean first, those without a result last, and every comparison.

    The mean counts a broken run as the worst result, as `compare` does.
    """
    comparisons = compare(results, resolution=resolution)
    whole = complete({name: found for name, found in results.items() if found})
    found = []
    for name, values in results.items():
        mean, low, high = math.nan, math.nan, math.nan
        if values:
            found_by_seed = list(whole[name].values())
            mean, low, high = mean_interval(found_by_seed, resolution=resolution)
            if math.isfinite(low) and all(0 <= value <= 1 for value in found_by_seed):
                low, high = max(0.0, low), min(1.0, high)  # Student's t knows nothing of shares
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
                broken=tuple(s for s in whole.get(name, ()) if s not in values),
            )
        )
    found.sort(key=lambda s: (-s.mean if s.results else math.inf, len(s.broken), s.name))
    return found, comparisons


def verdict(table: Sequence[Standing], comparisons: Sequence[Comparison]) -> str:
    """Returns the winner in one sentence; without a significant difference, who is tied.

    Broken runs, candidates that never finished one, and what cannot be seen with so many seeds are
    said as well.
    """
    ran = [standing for standing in table if standing.results]
    if not ran:
        return (
            "No candidate finished a run on fresh seeds, so that nothing can be said. Race again "
            "with a longer --budget, or fewer --trials."
        )
    return " ".join([_outcome(ran, comparisons), *_what_broke(table), *_power(ran, comparisons)])


def _outcome(ran: Sequence[Standing], comparisons: Sequence[Comparison]) -> str:
    best = ran[0]
    if len(ran) == 1:
        return f"{best.name} is the only one that finished."
    if all(len(standing.results) < 2 for standing in ran):
        equal = all(s.mean == best.mean for s in ran)
        ahead = "All are equal" if equal else f"{best.name} came out ahead"
        return f"{ahead} on one seed; one seed decides nothing: give --seeds 3 or more."
    if not best.tied:
        return f"{best.name} wins: it is better than every other that ran, beyond doubt at 95 %."
    beaten = sum(1 for c in comparisons if not c.tied and best.name == c.first)
    names = ", ".join([best.name, *(s.name for s in ran if s.name in best.tied)])
    rest = f"; better beyond doubt than {counted(beaten, 'other')}" if beaten else ""
    leaders = [s.name for s in ran if f"{s.mean:.4f}" == f"{best.mean:.4f}"]
    if len(leaders) == len(ran):
        lead = "All have the same mean" if len(ran) > 2 else "Both have the same mean"
    else:
        lead = f"{best.name} has the best mean"
        if len(leaders) > 1:
            lead = f"{', '.join(leaders[:-1])} and {leaders[-1]} have the same mean, the best"
    return f"Tied, not significantly different: {names}. {lead}{rest}."


def _what_broke(table: Sequence[Standing]) -> list[str]:
    broken = [f"{s.name} ({len(s.broken)})" for s in table if s.broken]
    never = [s.name for s in table if not s.results]
    said = []
    if broken:
        said.append(f"Runs that broke count as the worst result: {', '.join(broken)}.")
    if never and len(never) < len(table):
        said.append(f"Finished no run and cannot win: {', '.join(never)}.")
    return said


def _power(ran: Sequence[Standing], comparisons: Sequence[Comparison]) -> list[str]:
    """Returns the least difference that this race can show, where there is one."""
    least = min((c.visible for c in comparisons), default=math.inf)
    if len(ran) < 2 or not math.isfinite(least):
        return []
    seeds = comparisons[0].seeds
    if least >= 1.0:  # of an accuracy, which is no more
        return [f"With {seeds} seeds no difference can be seen, however large: give more --seeds."]
    return [f"With {seeds} seeds a difference under {100 * least:.2g} points cannot be seen."]


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
