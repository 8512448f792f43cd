"""Layer statistics over the steps: the size of activations and gradients, layer by layer, and of
the updates of the weights.

Layers from the input (above) to the output; colour is the standard deviation on a logarithmic
scale, so that a network whose signals die or explode shows a run of colours and a healthy one a
few. What is not finite is orange.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ravine.reports.curve_figures import figure_of, panels, svg_of
from ravine.reports.figure_style import ACCENT, GREY, SECOND, literal

FEWEST = 3  # snapshots that make a figure
_COLUMNS = 160  # snapshots that are drawn at most
_NAMES = 24  # layers that are named at most
_LEAST_RANGE = 100.0  # of a colour scale, so that noise does not look like a trend
_WEIGHTED = ("conv", "linear", "attention", "embedding")
_USUAL = 1e-3  # update over weight

Snapshot = Mapping[str, Any]


def scales(snapshots: Sequence[Snapshot]) -> str:
    """Returns two heat maps of layers × steps: activations, and gradients of the loss by them.

    Args:
        snapshots: rows of layers.jsonl, at least `FEWEST`.
    """
    snapshots = _thinned(snapshots)
    names = _layers(snapshots[-1])
    steps = [int(snapshot["step"]) for snapshot in snapshots]
    height = 1.3 + 0.17 * min(max(len(names), 6), 26)
    shown = range(0, len(names), math.ceil(len(names) / _NAMES))
    found = []
    for key, what in (("var", "activations"), ("gradient_var", "gradients")):
        with figure_of(4.6, height) as (figure, axes):
            _heat_map(figure, axes, _values(snapshots, names, key), steps, what)
            axes.set_yticks([row + 0.5 for row in shown], [literal(names[row]) for row in shown])
            axes.tick_params(axis="y", labelsize=9.2, length=0)
            axes.set_ylim(len(names), 0)
        found.append(svg_of(figure, f"size of {what}, layers by steps"))
    return panels(found)


def update_ratios(snapshots: Sequence[Snapshot]) -> str:
    """Returns the relative update of each weight tensor, ‖Δθ‖/‖θ‖, as bands over all tensors.

    Args:
        snapshots: rows of layers.jsonl, at least `FEWEST`.
    """
    snapshots = _thinned(snapshots)
    steps = [int(snapshot["step"]) for snapshot in snapshots]
    rows = [_ratios(snapshot) for snapshot in snapshots]
    quantiles = np.array([_quantiles(list(row.values())) for row in rows]).T
    with figure_of(9.2, 2.6) as (figure, axes):
        for outer, alpha in ((0, 0.16), (1, 0.3)):
            low, high = quantiles[outer], quantiles[-1 - outer]
            label = ("all", "half of them")[outer]
            axes.fill_between(steps, low, high, color=ACCENT, alpha=alpha, linewidth=0, label=label)
        axes.plot(steps, quantiles[2], color=ACCENT, linewidth=1.4, label="median")
        axes.axhline(_USUAL, color=GREY, linewidth=0.9, linestyle="--", label="0.001, a usual size")
        axes.set(yscale="log", xlabel="step", ylabel="update / weight", xlim=(steps[0], steps[-1]))
        _name_extremes(axes, rows[-1], steps[-1])
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.22), ncols=4, fontsize=9.5)
    return svg_of(figure, "size of updates over size of weights, against steps")


def _thinned(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    indices = np.linspace(0, len(snapshots) - 1, min(len(snapshots), _COLUMNS)).round().astype(int)
    return [snapshots[index] for index in indices]


def _layers(snapshot: Snapshot) -> list[str]:
    """Returns the layers with weights, or all with a variance where no kind is known."""
    rows = {n: row for n, row in snapshot.get("layers", {}).items() if "var" in row}
    weighted = [
        name
        for name, row in rows.items()
        if any(word in str(row.get("kind")).lower() for word in _WEIGHTED)
    ]
    return weighted or list(rows)


def _values(snapshots: Sequence[Snapshot], names: Sequence[str], key: str) -> np.ndarray:
    """Returns standard deviations, (layers, snapshots); NaN where there is none."""
    variances = np.array(
        [[snapshot.get("layers", {}).get(name, {}).get(key, math.nan) for snapshot in snapshots]
         for name in names], dtype=np.float64,
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        found = np.sqrt(variances)
    return np.where(np.isfinite(found) & (found > 0), found, math.nan)


def _heat_map(
    figure: Figure, axes: Axes, values: np.ndarray, steps: Sequence[int], what: str
) -> None:
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (1e-3, 1.0)
    if high / low < _LEAST_RANGE:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(_LEAST_RANGE), middle * math.sqrt(_LEAST_RANGE)
    colours = mpl.colormaps["viridis"].with_extremes(bad=SECOND)
    mesh = axes.pcolormesh(
        _edges(steps),
        np.arange(len(values) + 1),
        np.ma.masked_invalid(values),
        norm=LogNorm(low, high),
        cmap=colours,
        rasterized=True,
    )
    axes.grid(visible=False)
    axes.set_title(what, fontsize=10.5)
    axes.set_xlabel("step")
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9.2)
    bar.ax.minorticks_off()


def _edges(steps: Sequence[int]) -> np.ndarray:
    """Returns the borders between snapshots (T + 1,): half way from each to the next."""
    at = np.array(steps, dtype=np.float64)
    between = (at[1:] + at[:-1]) / 2
    return np.concatenate([[at[0] - 0.5], between, [at[-1] + 0.5]])


def _ratios(snapshot: Snapshot) -> dict[str, float]:
    found = {n: row.get("update_ratio") for n, row in snapshot.get("parameters", {}).items()}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value) and value > 0
    }


def _quantiles(values: Sequence[float]) -> np.ndarray:
    return np.quantile(values, [0, 0.25, 0.5, 0.75, 1]) if values else np.full(5, math.nan)


def _name_extremes(axes: Axes, row: Mapping[str, float], step: int) -> None:
    """Names the tensors that move most and least at the last snapshot."""
    if len(row) < 2:
        return
    for choose in (max, min):
        name = choose(row, key=lambda one: row[one])
        axes.annotate(
            literal(name), (step, row[name]), xytext=(4, 0), textcoords="offset points",
            fontsize=9.2, va="center", annotation_clip=False,
        )  # fmt: skip
