"""A network that is worse than a method that only looks at pixels: found by McNemar's test."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ravine.findings.finding import Finding
from ravine.findings.thresholds import BELOW_BASELINE, FEW_PER_CLASS, FEW_STEPS

_LONGER = 3.0  # times a run that was too short, where its number of steps does not say
_FEWEST, _FALLEN = 8, 0.03  # losses that tell whether they fall, and by what share
_ROUND = 30  # seconds to which a longer budget is rounded up


def find_below_baseline(
    baselines: Sequence[Mapping[str, Any]],
    *,
    steps: int,
    length: Mapping[str, float | None],
    learns: bool = True,
) -> Iterator[Finding]:
    """Yields a finding where the network is below the best baseline by more than chance.

    Args:
        baselines: rows of evaluation.json: name, accuracy, count, only_baseline, only_network, p.
        steps: that the run was trained for.
        length: `epochs` and `budget` in seconds, as in the recipe; `enough`, the seconds of
            a budget that leaves time to learn, where a speed was measured.
        learns: whether its training loss has fallen; a run that does not learn in some hundred
            steps is not too short.
    """
    best = max(baselines, key=lambda row: float(row["accuracy"]), default=None)
    if best is None or best["only_baseline"] <= best["only_network"] or best["p"] > BELOW_BASELINE:
        return
    points = 100 * (best["only_baseline"] - best["only_network"]) / best["count"]
    few = steps < FEW_STEPS
    longer = _longer(steps, length) if learns or few else {}
    name, value = next(iter(longer.items()), ("epochs", None))
    unit = "s" if name == "budget" else ""
    cure = "train for longer" + (f": --{name} {value:g}{unit}" if value is not None else "")
    asked = "ask for the learning rate, the wiring and the labels: ravine check DATA"
    if few:
        cause = f"{steps:,} steps are too few to learn from"
        if not learns:
            cause += ": the training loss has not fallen in them"
            cure = f"{cure}; if it does not fall then, {asked}"
    elif learns:
        cause = "it has not learnt what the pixels show"
        cure = f"{cure}; or compare settings with ravine race"
    else:
        cause = "the training loss has not fallen: more steps of the same kind do not change that"
        cure = asked
    yield Finding(
        severity="warning",
        code="below-baseline",
        seen=f"the network is {points:.1f} points below {best['name']} on the pixels alone "
        f"({100 * best['accuracy']:.1f} % of {best['count']:,} images)",
        cause=cause,
        cure=cure,
        step=steps,
        evidence={"points": points, "p": float(best["p"]), "steps": float(steps)},
        changes=longer,
    )


def learns_over(losses: Sequence[float], *, shown: float = math.inf) -> bool:
    """Returns whether training losses fall: those of the last quarter lie below the first ones.

    True where there are too few to tell, or where the steps held few examples of each class
    (`shown`): of a hundred classes four images each teach nothing yet.

    >>> learns_over([2.3, 2.2, 2.0, 1.5, 1.2, 1.0, 0.9, 0.8])
    True
    """
    known = [loss for loss in losses if math.isfinite(loss)]
    if len(losses) < _FEWEST or shown < FEW_PER_CLASS:
        return True
    if len(known) < len(losses) // 2:
        return False
    # The very first one stands for a run that blows up at once and comes back.
    first = min(known[0], statistics.median(known[: max(3, len(known) // 20)]))
    last = statistics.fmean(known[-max(2, len(known) // 4) :])
    return first - last > _FALLEN * abs(first)


def _longer(steps: int, length: Mapping[str, float | None]) -> dict[str, float]:
    """Returns the setting of a run that is long enough, three times as long at least."""
    factor = max(_LONGER, FEW_STEPS / max(1, steps))
    if epochs := length.get("epochs"):
        return {"epochs": math.ceil(epochs * factor)}
    if budget := length.get("budget"):
        return {"budget": length.get("enough") or math.ceil(budget * factor / _ROUND) * _ROUND}
    return {}
