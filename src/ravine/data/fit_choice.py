"""How pictures become square, by their shapes: no more than a fifth is cut off without being asked.

crop resizes the shorter side and cuts out the middle; squash resizes each side; pad resizes the
longer side and adds black. Squashing is taken where the shapes are alike, so that it does the same
to all, or no more different than upright and lying photos; else padding.

Shape letters: N images.
"""

from dataclasses import dataclass

import numpy as np

MOST_CUT = 0.2
"""Share of a picture's area that is cut off without being asked."""

_ALIKE = 2.5  # times that one shape is wider than another: photos of 3:2 are 2.25 times 2:3
_QUANTILES = (0.05, 0.95)
_SAID = {
    "crop": "shorter side resized, middle cut out",
    "pad": "longer side resized, black added",
    "squash": "each side resized",
}


@dataclass(frozen=True, slots=True)
class Fit:
    """How pictures become square.

    Attributes:
        name: crop, pad or squash.
        said: what is done and why, in a clause.
    """

    name: str
    said: str


def choose_fit(sizes: np.ndarray, asked: str) -> Fit:
    """Returns how pictures become square.

    Args:
        sizes: (N, 2) heights and widths.
        asked: crop, pad or squash; or auto, to choose by the shapes.

    >>> choose_fit(np.array([[64, 16]]), "auto").said
    'each side resized, as cutting out the middle would lose 75 % of the area (--fit crop)'
    >>> choose_fit(np.array([[30, 32]]), "auto").said
    'shorter side resized, middle cut out, which loses up to 6 % of the area'
    """
    lost = cut_share(sizes)
    most = float(lost.max())
    if asked != "auto":
        return Fit(asked, _SAID[asked] + (_losing(lost) if asked == "crop" else ""))
    if most <= MOST_CUT:
        return Fit("crop", _SAID["crop"] + _losing(lost))
    ratios = sizes[:, 1] / np.maximum(1, sizes[:, 0])
    low, high = np.quantile(ratios, _QUANTILES)
    name = "squash" if high <= _ALIKE * low else "pad"
    upto = "" if lost.min() == most else "up to "
    return Fit(
        name,
        f"{_SAID[name]}, as cutting out the middle would lose {upto}{100 * most:.0f} % of the area "
        "(--fit crop)",
    )


def cut_share(sizes: np.ndarray) -> np.ndarray:
    """Returns the share of the area that cutting out the middle loses, (N,) in 0..1.

    Args:
        sizes: (N, 2) heights and widths.
    """
    found: np.ndarray = 1 - sizes.min(1) / np.maximum(1, sizes.max(1))
    return found


def _losing(lost: np.ndarray) -> str:
    most = float(lost.max())
    upto = "" if lost.min() == most else "up to "
    upto = upto if len(lost) > 1 else "up to "
    return f", which loses {upto}{100 * most:.0f} % of the area" if most >= 0.005 else ""
