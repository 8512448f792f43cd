"""What all figures of a page share: colours and the style of the axes."""

from typing import Any

from ravine.core.colours import SHADES

# Those of light paper; in a page they follow its colours (`curve_figures.svg_of`).
ACCENT, SECOND, GREY = (SHADES[name].light for name in ("blue", "vermilion", "grey"))


def axes_style(ink: str) -> dict[str, Any]:
    """Returns matplotlib's settings for axes in the colour `ink`."""
    return {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": ink,
        "axes.labelcolor": ink,
        "text.color": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "axes.grid": True,
        "grid.color": GREY,
        "grid.alpha": 0.18,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "svg.hashsalt": "ravine",
    }


def literal(name: str) -> str:
    """Returns a name such that matplotlib does not take a part of it for a formula.

    >>> literal("cost $1")
    'cost \\\\$1'
    """
    return name.replace("$", r"\$")
