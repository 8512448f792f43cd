"""Figures of a race as SVG text: curves with bands, learning rates, intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ravine.core.colours import SHADES, shades_of
from ravine.reports.curve_figures import figure_of, panels, plain_log, svg_of
from ravine.reports.direct_labels import End, label_ends
from ravine.reports.figure_style import GREY, literal
from ravine.runs.surface import Surface

Colours = Mapping[str, str]
_POINTS = 120


def colours(names: Sequence[str]) -> dict[str, str]:
    """Returns the colour of each candidate by its name; after eight they come again."""
    return {name: SHADES[shade].light for name, shade in shades_of(names).items()}


def curves(
    runs: Mapping[str, Mapping[Any, Any]],
    shades: Colours,
    target: Mapping[str, Any] | None,
    measure: str,
) -> str:
    """Returns training loss and the figure of the validation images by steps and by seconds.

    Args:
        runs: of each candidate by seed, with rows `training` and `validation`.
        shades: colour of each candidate.
        target: to mark, if there is one.
        measure: what `accuracy` holds: accuracy or mAP.
    """
    with figure_of(9.2, 6.0, nrows=2, ncols=2, sharex="col", sharey="row") as (figure, axes):
        for column, time in enumerate(("step", "elapsed")):
            for line, (part, value) in enumerate(
                (("training", "loss"), ("validation", "accuracy"))
            ):
                one = axes[line][column]
                for name, by_seed in runs.items():
                    rows = [run[part] for run in by_seed.values() if run[part]]
                    _band(one, rows, time, value, colour=shades[name], label=literal(name))
            axes[1][column].set_xlabel("steps" if time == "step" else "seconds")
        axes[0][0].set_ylabel("training loss")
        _logarithmic(axes[0][0])
        axes[1][0].set_ylabel(f"validation {measure}")
        for one in axes[1]:
            one.yaxis.set_major_formatter(PercentFormatter(1.0))
            if target is not None:
                one.axhline(target["accuracy"], color=GREY, linewidth=0.8, linestyle="--")
        for line, (part, value) in enumerate((("training", "loss"), ("validation", "accuracy"))):
            label_ends(axes[line][1], _ends(runs, shades, part, value))
    title = f"training loss and validation {measure} against steps and seconds"
    return svg_of(figure, title, read=False)


def _ends(
    runs: Mapping[str, Mapping[Any, Any]], shades: Colours, part: str, value: str
) -> list[End]:
    """Returns where each candidate's mean over its seeds ends, against seconds."""
    found = []
    for name, by_seed in runs.items():
        last = [run[part][-1] for run in by_seed.values() if run[part]]
        if last:
            at = min(float(row["elapsed"]) for row in last)
            mean = float(np.mean([row[value] for row in last]))
            found.append(End(at, mean, name, shades[name]))
    return found


def band(
    runs: Sequence[Sequence[Mapping[str, float]]], time: str, value: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where all seeds of a candidate are known (N,), and their values there (seeds, N).

    Args:
        runs: the rows of each seed, of rising `time`; none is empty.
        time: the key of the axis; of `step` the points of the longest run are kept.
        value: the key of the values.
    """
    longest = max(runs, key=len)
    end = min(rows[-1][time] for rows in runs)
    start = max(rows[0][time] for rows in runs)
    if len(longest) == 1:
        at = np.array([np.mean([row[time] for rows in runs for row in rows])])
    elif time == "elapsed":
        at = np.linspace(min(start, end), end, min(_POINTS, 4 * len(longest)))
    else:
        at = np.array([row[time] for row in longest if start <= row[time] <= end] or [end])
    seeds = [np.interp(at, [r[time] for r in rows], [r[value] for r in rows]) for rows in runs]
    return at, np.array(seeds)


def _band(
    axes: Axes,
    runs: Sequence[Sequence[Mapping[str, float]]],
    time: str,
    value: str,
    *,
    colour: str,
    label: str,
) -> None:
    if not runs:
        return
    at, values = band(runs, time, value)
    marker = "o" if len(at) < 30 and value == "accuracy" else None
    axes.fill_between(at, values.min(0), values.max(0), color=colour, alpha=0.16, linewidth=0)
    axes.plot(at, values.mean(0), color=colour, linewidth=1.5, marker=marker, ms=3, label=label)


def sensitivity(
    trials: Mapping[str, Sequence[Mapping[str, Any]]], shades: Colours, measure: str
) -> str:
    """Returns loss and `measure` of every trial by its learning rate, a line per candidate."""
    by_rate = {name: _by_rate(rows) for name, rows in trials.items()}
    ended = {name: [r for r in rows if r["status"] == "ended"] for name, rows in by_rate.items()}
    with figure_of(4.6, 3.2) as (left, axes):
        for name, rows in by_rate.items():
            _dots(axes, rows, "loss", shades[name])
            _by_learning_rate(axes, name, ended[name], "loss", shades)
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
        if any(r["loss"] for rows in trials.values() for r in rows):
            _logarithmic(axes)
    with figure_of(4.6, 3.2) as (right, axes):
        for name, rows in ended.items():
            _by_learning_rate(axes, name, rows, "accuracy", shades, marker="o", ms=4.5)
        axes.set(xscale="log", xlabel="learning rate", ylabel=f"validation {measure} at the end")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        last = [(name, rows[-1]) for name, rows in ended.items() if rows]
        ends = [End(float(r["settings"]["lr"]), _nan(r["accuracy"]), n, shades[n]) for n, r in last]
        label_ends(axes, [end for end in ends if math.isfinite(end.y)])
    titles = (f"{what} of every trial against the learning rate" for what in ("loss", measure))
    return panels(svg_of(one, title) for one, title in zip((left, right), titles, strict=True))


def _by_rate(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the trials whose learning rate is known, by it."""
    known = [row for row in rows if row["settings"].get("lr") is not None]
    return sorted(known, key=lambda row: float(row["settings"]["lr"]))


def _by_learning_rate(
    axes: Axes,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    value: str,
    shades: Colours,
    **drawn: Any,
) -> None:
    at, values = _learning_rates(rows), [_nan(row[value]) for row in rows]
    axes.plot(at, values, color=shades[name], linewidth=1.2, label=literal(name), **drawn)


def _logarithmic(axes: Axes) -> None:
    """Makes the axis of losses logarithmic, with plain decimal numbers."""
    axes.set_yscale("log")
    plain_log(axes)


def _dots(axes: Axes, rows: Sequence[Mapping[str, Any]], value: str, colour: str) -> None:
    finite = [row for row in rows if row[value] is not None]
    highest = max((row[value] for row in finite), default=1.0)
    for row in rows:
        lr = float(row["settings"]["lr"])
        if row["status"] in ("ended", "stopped") and row[value] is not None:
            face = colour if row["status"] == "ended" else "none"
            axes.plot(lr, row[value], "o", color=colour, markerfacecolor=face, ms=5)
        elif row["status"] != "not run":
            axes.plot(lr, highest, "x", color=colour, ms=6)


def _learning_rates(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    return [float(row["settings"]["lr"]) for row in rows]


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def intervals(table: Sequence[Mapping[str, Any]], shades: Colours, measure: str) -> str:
    """Returns the mean of each candidate with its interval, and a dot for every seed."""
    rows = [row for row in table if row["results"]]
    with figure_of(4.6, 0.75 + 0.34 * len(rows)) as (figure, axes):
        values = [v for row in rows for v in row["results"].values()]
        reach = max(max(values) - min(values), 0.002)
        low, high = max(0.0, min(values) - 1.2 * reach), min(1.0, max(values) + 1.2 * reach)
        for line, row in enumerate(rows):
            colour = shades[row["name"]]
            left, right = (_nan(v) for v in row["interval"])
            if not (math.isfinite(left) and math.isfinite(right)):
                left = right = row["mean"]
            axes.plot([max(low, left), min(high, right)], [line] * 2, color=colour, linewidth=2)
            seeds = list(row["results"].values())
            axes.plot(seeds, [line] * len(seeds), "o", color=colour, alpha=0.45, ms=4)
            axes.plot(row["mean"], line, "D", color=colour, ms=6)
        axes.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.6), xlabel=measure)
        axes.set_yticks(range(len(rows)), [literal(row["name"]) for row in rows])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return svg_of(figure, "mean of each candidate with its 95 % interval; pale dots are seeds")


def plane(surface: Surface, indices: Mapping[str, np.ndarray], shades: Colours) -> str:
    """Returns the loss on a plane with the trajectory of each candidate.

    Args:
        surface: along a trajectory with the points of all candidates.
        indices: (N,) of each candidate's points in that trajectory, in order.
        shades: colour of each candidate.
    """
    path = surface.trajectory
    with figure_of(9.2, 6.2) as (figure, axes):
        _draw_heights(figure, axes, surface)
        for name, own in indices.items():
            x, y, loss = (path[key][own] for key in ("x", "y", "loss"))
            _draw_trajectory(axes, x, y, float(loss[-1]), colour=shades[name], label=literal(name))
        labels = surface.about.get("labels", ["", ""])
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.legend(loc="best", frameon=True, facecolor="white", framealpha=0.9, edgecolor="none")
    return svg_of(
        figure, "trajectories of all candidates over the loss on one plane of their weights"
    )


def _draw_heights(figure: Figure, axes: Axes, surface: Surface) -> None:
    height = np.ma.masked_invalid(surface.height)
    low, high = float(height.min()), float(height.max())
    norm = LogNorm(low, max(high, 1.001 * low)) if low > 0 else None
    mesh = axes.pcolormesh(
        surface.x, surface.y, height, norm=norm, cmap="Greys",
        shading="nearest" if height.mask.any() else "gouraud", rasterized=True,
    )  # fmt: skip
    if norm is not None and high > 1.01 * low:
        levels = np.geomspace(low, high, 14)[1:-1]
        axes.contour(surface.x, surface.y, height, levels=levels, colors="#ffffff", linewidths=0.6)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label("training loss on the plane")
    bar.outline.set_visible(False)


def _draw_trajectory(
    axes: Axes, x: np.ndarray, y: np.ndarray, last_loss: float, *, colour: str, label: str
) -> None:
    """Draws points (N,), the first as a cross, the last as a dot with its loss if it is known."""
    axes.plot(x, y, color=colour, linewidth=1.8, marker=".", ms=4, label=label)
    axes.plot(x[-1], y[-1], "o", color=colour, markeredgecolor="white", ms=9)
    axes.annotate(
        f"{last_loss:.3g}" if math.isfinite(last_loss) else "",
        (x[-1], y[-1]), (7, 5), textcoords="offset points", color=colour, fontsize=9.2,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "lw": 0},
    )  # fmt: skip
    axes.plot(x[0], y[0], "+", color="#22303c", ms=11, markeredgewidth=1.8)
