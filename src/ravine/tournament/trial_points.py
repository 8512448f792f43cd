"""The trial points of a race: the same settings are tried for every candidate.

The first point is the default of every setting. The others are quasi-random (Halton 1960, shifted
as a whole by the seed: Cranley, Patterson 1976) over three axes, on which learning rate, momentum
and ε are searched together, since rankings depend on the space of the search (Choi et al. 2019):

    learning rate  the candidate's own default times 0.1 … 10, logarithmic
    momentum       1 − γ from 0.003 to 0.3, logarithmic
    ε              1e-10 … 1e-4, logarithmic

A candidate takes the coordinates that its optimizer has and that are neither given nor varied.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ravine.core.halton import halton
from ravine.core.seeds import seed_for

Point = Mapping[str, float]
SPACE: Mapping[str, tuple[float, float]] = {
    "rate": (0.1, 10.0),
    "1-momentum": (0.003, 0.3),
    "eps": (1e-10, 1e-4),
}


def points(count: int, *, seed: int) -> list[Point]:
    """Returns `count` points; the first, empty, is the default of every setting.

    Fewer points with the same seed are the first of more.

    >>> [dict(point) for point in points(1, seed=0)]
    [{}]
    """
    shift = np.random.default_rng(seed_for("race points", seed=seed)).random(len(SPACE))
    unit = (halton(count, len(SPACE))[1:] + shift) % 1.0
    low, high = np.log(np.array(list(SPACE.values()))).T
    values = np.exp(low + unit * (high - low))
    return [{}, *({k: float(v) for k, v in zip(SPACE, row, strict=True)} for row in values)]


def at_point(point: Point, *, free: Collection[str], default_lr: float) -> dict[str, float]:
    """Returns the settings that a candidate takes at a point.

    Args:
        point: of `points`.
        free: which of lr, momentum and eps the optimizer has and the user did not fix.
        default_lr: learning rate that the candidate's training would start from.
    """
    found: dict[str, float] = {}
    if "lr" in free:
        found["lr"] = _short(default_lr * point.get("rate", 1.0))
    if "momentum" in free and "1-momentum" in point:
        found["momentum"] = _short(1 - point["1-momentum"])
    if "eps" in free and "eps" in point:
        found["eps"] = _short(point["eps"])
    return found


def _short(value: float) -> float:
    """Returns the value with four digits, so that a recipe can be read."""
    return float(f"{value:.4g}")


def describe_space(fixed: Collection[str] = ()) -> dict[str, Any]:
    """Returns the range of each setting that is searched, as text."""
    low, high = SPACE["1-momentum"]
    ranges = {
        "lr": f"default × {SPACE['rate'][0]:g} … {SPACE['rate'][1]:g}",
        "momentum": f"{1 - high:g} … {1 - low:g}",
        "eps": f"{SPACE['eps'][0]:g} … {SPACE['eps'][1]:g}",
    }
    return {name: text for name, text in ranges.items() if name not in fixed}
