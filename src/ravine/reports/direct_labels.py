"""Labels at the ends of curves, in place of a legend: they avoid each other."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from ravine.reports.figure_style import literal

_HEIGHT = 11.0  # points between two labels
_POINTS_AN_INCH = 72.0


class End(NamedTuple):
    """The last point of a curve."""

    x: float
    y: float
    text: str
    colour: str


def label_ends(axes: Axes, ends: Sequence[End], *, size: float = 9.2) -> None:
    """Writes each text beside the end of its curve.

    Args:
        axes: with all its curves drawn and its limits and scales set.
        ends: of the curves.
        size: of the letters, in points.
    """
    figure = axes.figure
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)  # type: ignore[arg-type]
    points = _POINTS_AN_INCH / figure.dpi
    heights = [float(axes.transData.transform((end.x, end.y))[1]) * points for end in ends]
    low, high = (float(axes.transAxes.transform((0, share))[1]) * points for share in (0, 1))
    for end, height, shown in zip(ends, heights, spread(heights, low, high), strict=True):
        axes.annotate(
            literal(end.text), (end.x, end.y), (6, shown - height),
            textcoords="offset points", color=end.colour, fontsize=size, va="center",
            annotation_clip=False,
        )  # fmt: skip


def spread(heights: Sequence[float], low: float, high: float) -> list[float]:
    """Returns heights in [low, high] that are at least a label apart, in the same order.

    >>> spread([5.0, 4.0, 50.0], 0.0, 60.0)
    [15.0, 4.0, 50.0]
    """
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    found = list(heights)
    last = low - _HEIGHT
    for k in order:
        found[k] = last = max(found[k], last + _HEIGHT)
    last = high + _HEIGHT
    for k in reversed(order):
        found[k] = last = min(found[k], last - _HEIGHT)
    return found
