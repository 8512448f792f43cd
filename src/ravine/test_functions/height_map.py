"""The height map of a picture: the function on a grid, with heights that show floor and walls.

Shape letters in this file: X nodes along x, Y nodes along y.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from ravine.core.colours import SHADES, shades_of
from ravine.test_functions.function_race import FunctionRace

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HeightMap:
    """Values on a grid, and their heights.

    Height is log₁₀(1 + (value − low)/unit), or value − low.
    """

    x: Array
    """(X,) float64."""

    y: Array
    """(Y,) float64."""

    values: Array
    """(Y, X) float64; NaN where the function is not finite."""

    low: float
    unit: float
    logarithmic: bool

    def heights(self, values: Array) -> Array:
        """Returns the heights of values of any shape; those below `low` have height 0."""
        above = np.maximum(values - self.low, 0.0)
        return np.log10(1 + above / self.unit) if self.logarithmic else above


def height_map(race: FunctionRace, *, nodes: int = 101) -> HeightMap:
    """Returns the function of a race on a grid of `nodes` by `nodes`."""
    problem = race.problem
    x, y = (np.linspace(low, high, nodes) for low, high in problem.domain)
    points = torch.tensor(np.stack(np.meshgrid(x, y), axis=-1), dtype=torch.float64)
    values = problem.values(points).numpy()
    values = np.where(np.isfinite(values), values, math.nan)
    low = min(race.lowest, float(np.nanmin(values)))
    gap = float(np.nanmedian(values)) - low
    return HeightMap(
        x=x,
        y=y,
        values=values,
        low=low,
        unit=max(1e-3 * gap, 1e-300),
        logarithmic=problem.logarithmic,
    )


def shades(race: FunctionRace) -> list[str]:
    """Returns the shade of each candidate, by its name: the same on every page."""
    named = shades_of([result.candidate.label for result in race.results])
    return [named[result.candidate.label] for result in race.results]


def colours(race: FunctionRace) -> list[str]:
    """Returns the colour of each candidate on light paper."""
    return [SHADES[shade].light for shade in shades(race)]


def shown(value: float, digits: int = 3) -> str:
    """Returns a number as it is printed on pictures.

    >>> shown(0.0001234), shown(1.5e-9), shown(float("inf"))
    ('0.000123', '1.5e-9', '∞')
    """
    if math.isinf(value):
        return "∞"
    text = f"{value:.{digits}g}"
    mantissa, sign, power = text.partition("e")
    return f"{mantissa}e{int(power)}" if sign else text
