"""The variance figure, in the manner of Glorot, Bengio 2010 and He et al. 2015.

Layers along x, variance on a logarithmic y; forward above, backward below; a column for each
network; theory as a line in its band, measurement as points.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from ravine.findings.variance_change import change_of, describe_change
from ravine.reports.curve_figures import figure_of, svg_of
from ravine.reports.figure_file import write_figure
from ravine.reports.figure_finish import lay_out, write_exponents
from ravine.reports.figure_style import (
    ACCENT,
    GREY,
    SECOND,
    axes_style,
    literal,
)

_INK = "#22303c"
_STYLE: Any = {
    **axes_style(_INK),
    "axes.edgecolor": GREY,
    "font.family": "DejaVu Sans",
    "font.size": 10,
}
_GRID: Any = {"sharex": "col", "sharey": "row", "squeeze": False}
_BAND = "95 % of draws, by finite width and batch"
_LEGEND_INCHES = 7.0  # which its three entries take beside each other
_DIRECTIONS = (("forward", "activations", ACCENT), ("backward", "gradients", SECOND))


def draw_variance(networks: Sequence[Mapping[str, Any]], paths: Sequence[Path]) -> None:
    """Writes one figure of several networks side by side, in the formats of the paths' suffixes.

    Args:
        networks: each with `name`, `layers` (`forward`, `forward_predicted`, `backward`,
            `backward_predicted`, and the factors `forward_band` and `backward_band`; None where
            there is no number) and `factors` (by direction, `measured` and `predicted`).
        paths: the files; .png or .svg.

    Raises:
        RunError: the disk is full or read-only.
    """
    with mpl.rc_context(_STYLE):
        width = max(1.2 + 2.6 * len(networks), 5.2)
        figure = Figure(figsize=(width, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, figure.subplots(2, len(networks), **_GRID), networks)
        write_exponents(figure)
        lay_out(figure)
        for path in paths:
            plain = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            write_figure(figure, path, dpi=130, facecolor="auto", metadata=plain)


def variance_drawing(networks: Sequence[Mapping[str, Any]]) -> str:
    """Returns the same figure as SVG text for a page."""
    with figure_of(4.6 * len(networks), 5.4, nrows=2, ncols=len(networks), **_GRID) as (
        figure,
        grid,
    ):
        _draw(figure, grid, networks)
    return svg_of(figure, "variance of activations and gradients, layer by layer")


def _draw(figure: Figure, grid: Any, networks: Sequence[Mapping[str, Any]]) -> None:
    for column, network in enumerate(networks):
        grid[0, column].set_title(
            literal(network["name"]), fontsize=10.5, fontweight="bold", pad=20
        )
        for axes, (direction, _, colour) in zip(grid[:, column], _DIRECTIONS, strict=True):
            _panel(axes, network, direction, colour)
        grid[1, column].set_xlabel("layer with weights")
    for axes, (_, what, _) in zip(grid[:, 0], _DIRECTIONS, strict=True):
        axes.set_ylabel(f"variance of {what}")
    for line in grid:
        _widen(line)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=3 if figure.get_figwidth() >= _LEGEND_INCHES else 1,
        fontsize=9.5,
    )


def _panel(axes: Axes, network: Mapping[str, Any], direction: str, colour: str) -> None:
    rows = network["layers"]
    at = range(1, len(rows) + 1)
    predicted = [_shown(row[f"{direction}_predicted"]) for row in rows]
    measured = [_shown(row[direction]) for row in rows]
    low, high = _edges(rows, direction)
    axes.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0, label=_BAND)
    axes.plot(at, predicted, color=colour, linewidth=1.8, alpha=0.75, label="theory")
    axes.plot(
        at,
        measured,
        linestyle="none",
        marker="o",
        markersize=4 if len(rows) < 60 else 2.6,
        markerfacecolor="white",
        markeredgecolor=colour,
        markeredgewidth=1.0,
        label="measured",
    )
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.minorticks_off()
    factor = network["factors"][direction]
    measured_factor, theory = (_factor(factor[name]) for name in ("measured", "predicted"))
    text = f"× {measured_factor} per layer (theory × {theory}): {_verdict(rows, direction)}"
    axes.text(0.0, 1.02, text, transform=axes.transAxes, fontsize=9.2, color=colour)
    if measured and direction == "backward":
        _explain_last(axes, len(rows), measured[-1], colour)


def _verdict(rows: Sequence[Mapping[str, Any]], direction: str) -> str:
    """Returns whether the variance is kept from the first hidden layer of the pass to its last."""
    hidden = [row[direction] for row in rows[:-1]]
    return describe_change(change_of(hidden if direction == "forward" else hidden[::-1]))


def _explain_last(axes: Axes, at: int, value: float, colour: str) -> None:
    """Says why the last layer's gradient stands apart: the loss gives it, not a layer."""
    if math.isfinite(value):
        axes.annotate(
            "given by\nthe loss",
            (at, value),
            xytext=(-6, 4),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=9.2,
            color=colour,
        )


def _edges(rows: Sequence[Mapping[str, Any]], direction: str) -> tuple[list[float], list[float]]:
    bands = [_shown(row.get(f"{direction}_band")) for row in rows]
    predicted = [_shown(row[f"{direction}_predicted"]) for row in rows]
    pairs = list(zip(predicted, bands, strict=True))
    return [p / band for p, band in pairs], [p * band for p, band in pairs]


def _shown(value: float | None) -> float:
    return float("nan") if value is None or value <= 0 else value


def _widen(line: Sequence[Axes]) -> None:
    """Widens an axis to at least three powers of ten, so that noise does not look like a trend."""
    low, high = line[0].get_ylim()
    if high < 1e3 * low:  # not high / low, which overflows where the activations have vanished
        middle = (low * high) ** 0.5
        line[0].set_ylim(middle / 1e3**0.5, middle * 1e3**0.5)


def _factor(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
