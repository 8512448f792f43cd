"""The values of a figure's curves, for `crosshair.js`: a pointer or the arrow keys read them.

A line is read where it has a label; the drawing itself stays as it is.
"""

import math
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

_POINTS: Final = 300  # of a line, at most
_DIGITS: Final = 5
_POINTS_PER_INCH: Final = 72  # of matplotlib's SVG


def readings_of(figure: Figure) -> list[dict[str, Any]]:
    """Returns the labelled lines of a figure that is laid out, axes by axes.

    Each row has `box` (left, top, right, bottom in the SVG's units), the limits `x` and `y`,
    whether they are logarithmic (`logx`, `logy`) or shares (`percent`), the name of the x axis,
    and the lines with name, colour and values; null where a value is not finite.
    """
    width, height = _POINTS_PER_INCH * figure.get_size_inches()
    rows = []
    for axes in figure.axes:
        lines = [_line(one) for one in axes.get_lines() if _is_read(axes, one)]
        if lines:
            found = axes.get_position()
            box = [found.x0 * width, (1 - found.y1) * height]
            box += [found.x1 * width, (1 - found.y0) * height]
            rows.append({"box": [_rounded(v) for v in box], **_scales(axes), "lines": lines})
    return [{**row, "name": row["name"] or _name_beneath(figure, row["box"])} for row in rows]


def _name_beneath(figure: Figure, box: list[float | None]) -> str:
    """Returns the name of the x axis that stands under a box, of axes that share it."""
    width = _POINTS_PER_INCH * figure.get_size_inches()[0]
    for axes in figure.axes:
        found = axes.get_position()
        if axes.get_xlabel() and _rounded(found.x0 * width) == box[0]:
            return axes.get_xlabel()
    return ""


def _is_read(axes: Axes, line: Line2D) -> bool:
    named = not str(line.get_label()).startswith("_")
    return named and np.size(line.get_xdata()) > 1 and line.get_transform() == axes.transData


def _scales(axes: Axes) -> dict[str, Any]:
    return {
        "x": [_rounded(v) for v in axes.get_xlim()],
        "y": [_rounded(v) for v in axes.get_ylim()],
        "logx": axes.get_xscale() == "log",
        "logy": axes.get_yscale() == "log",
        "percent": isinstance(axes.yaxis.get_major_formatter(), PercentFormatter),
        "name": axes.get_xlabel(),
        "title": axes.get_title() or axes.get_ylabel(),
    }


def _line(line: Line2D) -> dict[str, Any]:
    x, y = (np.asarray(values, float) for values in line.get_data())
    chosen = np.unique(np.linspace(0, len(x) - 1, min(_POINTS, len(x))).round().astype(int))
    return {
        "name": str(line.get_label()).replace(r"\$", "$"),  # of `literal`
        "colour": str(line.get_color()),
        "x": [_rounded(v) for v in x[chosen]],
        "y": [_rounded(v) for v in y[chosen]],
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
