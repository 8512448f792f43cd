"""Early stopping: a run whose validation stands still comes to its end sooner.

Its schedule is not cut off: what remains of it is gone through in `patience` epochs, since the
last decay of the learning rate is where much of the accuracy comes from. Where the schedules have
nothing left to change, the run ends at once. The decision follows from evaluations alone, never
from a clock, so that a resumed run decides the same.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from ravine.schedules.scheduler import Absolute, Curve
from ravine.training.best_weights import Evaluated
from ravine.training.plan import Plan

_RISES = 0.5  # Kendall's τ of a rise: of five values by chance in one of nine cases
_POINTS = 64  # at which a schedule is looked at
_ROUNDING = 1e-9


def stands_still(rows: Sequence[Evaluated], patience: int) -> bool:
    """Returns whether validation has come to a plateau.

    None of the last `patience` evaluations is better than the best before them, in accuracy or in
    loss, nor is there a rise among them. The second condition keeps one lucky evaluation from
    hiding a slow improvement behind it.

    Args:
        rows: of the evaluations so far.
        patience: evaluations, at least 1.
    """
    old = rows[:-patience]
    if not old:
        return False
    for values in (
        [row.accuracy for row in rows],
        [-row.loss if math.isfinite(row.loss) else -math.inf for row in rows],
    ):
        recent = values[len(old) :]
        if max(recent) > max(values[: len(old)]) or _rank_trend(recent) > _RISES:
            return False
    return True


def _rank_trend(values: Sequence[float]) -> float:
    """Returns Kendall's τ of the values with their order: 1 where each is above all before."""
    pairs = list(combinations(values, 2))
    return sum((b > a) - (b < a) for a, b in pairs) / max(1, len(pairs))


def end_early(
    plan: Plan,
    step: int,
    rows: Sequence[Evaluated],
    *,
    patience: int,
    schedules: Mapping[str, Curve],
) -> Plan:
    """Returns the plan, shortened where validation stands still.

    Args:
        plan: of the run.
        step: steps done; the last of `rows` was evaluated after it.
        rows: of the evaluations so far.
        patience: epochs; 0 never ends early.
        schedules: of the run, by hyperparameter.
    """
    if not patience or plan.stop is not None or step >= plan.end:
        return plan
    if not stands_still(rows, -(-patience // plan.evaluate_every)):
        return plan
    rest = 0 if _are_over(schedules, plan.progress(step)) else patience * plan.steps_per_epoch
    return plan.stopped(step, step + rest) if step + rest < plan.end else plan


def _are_over(schedules: Mapping[str, Curve], progress: float) -> bool:
    """Returns whether no schedule changes its hyperparameter from `progress` on."""
    points = [progress + (1 - progress) * k / _POINTS for k in range(_POINTS)]
    return all(_is_level([_value(curve, p) for p in points]) for curve in schedules.values())


def _is_level(values: Sequence[float]) -> bool:
    """Returns whether values are equal but for rounding."""
    return max(values) - min(values) <= _ROUNDING * max(map(abs, values))


def _value(curve: Curve, progress: float) -> float:
    return curve.value_at(progress) if isinstance(curve, Absolute) else curve(progress)
