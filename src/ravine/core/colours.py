"""One table of colours by name: a method has one colour on every page, light and dark.

The hues are those of Okabe and Ito (2008), which readers of every colour vision tell apart, darker
or lighter until text in them has a contrast of 4.5 to 1 (WCAG AA) on the page's paper.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple


class Shade(NamedTuple):
    """A colour on light paper and on dark."""

    light: str
    dark: str


PAPER: Final = Shade("#ffffff", "#15181c")
WASH: Final = Shade("#f5f7f9", "#1d2127")
SHADES: Final[Mapping[str, Shade]] = {
    "blue": Shade("#0067a5", "#56b4e9"),
    "vermilion": Shade("#b34e00", "#ff8f45"),
    "green": Shade("#007a5c", "#2bc79a"),
    "pink": Shade("#a3467f", "#e59bc8"),
    "ochre": Shade("#846000", "#e6b422"),
    "olive": Shade("#4f6f00", "#a8c94a"),
    "violet": Shade("#6a4c93", "#b79be0"),
    "grey": Shade("#5d6672", "#a0a8b4"),
}
#: What a name stands for in each figure; other names take the shades that are left, in their order.
NAMED: Final[Mapping[str, str]] = {
    "training": "blue",
    "validation": "vermilion",
    "gradient descent": "grey",
    "momentum": "blue",
    "nesterov": "olive",
    "adagrad": "ochre",
    "rmsprop": "green",
    "adam": "vermilion",
    "nadam": "pink",
    "muon": "violet",
    "muon-rescaled": "grey",
}


def shades_of(names: Sequence[str]) -> dict[str, str]:
    """Returns the shade of each name; after eight they come again.

    >>> shades_of(["adam", "lr=0.1", "momentum"])
    {'adam': 'vermilion', 'lr=0.1': 'green', 'momentum': 'blue'}
    """
    found = {name: NAMED[name] for name in names if name in NAMED}
    left = [shade for shade in SHADES if shade not in found.values()] or list(SHADES)
    others = [name for name in names if name not in found]
    found |= {name: left[k % len(left)] for k, name in enumerate(others)}
    return {name: found[name] for name in names}
