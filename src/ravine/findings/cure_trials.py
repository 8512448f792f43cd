"""Trials of a cure: the same steps with and without it, from the same start, over several seeds.

The difference of each seed is of one pair: same data order, same start. Its mean carries the
95 % interval of Student's t; a cure helps where that lies below 0.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from ravine.core.student_t import student_t_quantile

Arm = Callable[[int], float]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a cure changed.

    Attributes:
        cure: in words.
        steps: of both.
        losses: (cured, control) of each seed; NaN or infinity where it was not finite.
        difference: mean of cured − control over the seeds where both are finite.
        low: lower end of its 95 % interval.
        high: upper end.
        verdict: helps, harms, makes no significant difference, or cannot be judged.
    """

    cure: str
    steps: int
    losses: tuple[tuple[float, float], ...]
    difference: float
    low: float
    high: float
    verdict: str

    def __str__(self) -> str:
        better = sum(_is_better(a, b) for a, b in self.losses)
        of = f"{better} of {len(self.losses)} seeds"
        if not math.isfinite(self.difference):
            lost = sum(not math.isfinite(b) for _, b in self.losses)
            return f"{self.cure}: {self.verdict}: without it {lost} losses are not finite, {of}"
        word = "lower" if self.difference <= 0 else "higher"
        ends = sorted((abs(self.low), abs(self.high)))
        crosses = self.low < 0 < self.high
        spread = (
            f"{self.low:+.3g} to {self.high:+.3g}" if crosses else f"{ends[0]:.3g} to {ends[1]:.3g}"
        )
        verdict = {"helps": "", "harms": " — it harms"}.get(self.verdict, f" — it {self.verdict}")
        return (
            f"{self.cure}: loss after {self.steps} steps {abs(self.difference):.3g} {word} "
            f"({spread}), {of}{verdict}"
        )

    def row(self) -> dict[str, Any]:
        """Returns the trial as plain values."""
        return {"kind": "trial", **asdict(self), "text": str(self)}


def _is_better(cured: float, control: float) -> bool:
    return math.isfinite(cured) and (not math.isfinite(control) or cured < control)


def compare(cure: str, *, cured: Arm, control: Arm, seeds: Sequence[int], steps: int) -> Trial:
    """Returns the trial of a cure.

    Args:
        cure: in words, such as "He instead of Xavier".
        cured: trains with the cure from a seed and returns its loss.
        control: the same without.
        seeds: at least two.
        steps: of both.
    """
    losses = tuple((cured(seed), control(seed)) for seed in seeds)
    difference, low, high = interval([a - b for a, b in losses])
    return Trial(
        cure=cure,
        steps=steps,
        losses=losses,
        difference=difference,
        low=low,
        high=high,
        verdict=_verdict(losses, low, high),
    )


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Returns the mean and its 95 % interval of Student's t; NaN where not all are finite.

    >>> [round(x, 3) for x in interval([-0.5, -0.4, -0.3])]
    [-0.4, -0.648, -0.152]
    """
    values = np.array(differences)
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan, math.nan, math.nan
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    half = student_t_quantile(len(values) - 1, 0.975) * error
    return mean, mean - half, mean + half


def _verdict(losses: Sequence[tuple[float, float]], low: float, high: float) -> str:
    if math.isfinite(low):
        if high < 0:
            return "helps"
        return "harms" if low > 0 else "makes no significant difference"
    cured = [math.isfinite(a) for a, _ in losses]
    control = [math.isfinite(b) for _, b in losses]
    if all(cured) and not any(control):
        return "helps"
    return "harms" if all(control) and not any(cured) else "cannot be judged"
