"""Pictures of loss surfaces: contours on a heat map, or a profile.

Each picture says what it leaves out: holes stay holes; the batch-norm policy, the share of the
trajectory's length in the plane and the number of nodes are printed on it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from ravine.core.atomic import write_whole
from ravine.reports.figure_file import write_figure
from ravine.reports.figure_style import literal
from ravine.reports.surface_notes import notes, notes_of_several
from ravine.reports.surface_page import COLOURS, surface_page
from ravine.runs.surface import Surface

STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.edgecolor": "#9aa7b1",
    "axes.linewidth": 0.8,
    "axes.labelcolor": "#22303c",
    "text.color": "#22303c",
    "xtick.color": "#22303c",
    "ytick.color": "#22303c",
    "svg.hashsalt": "ravine",
    "hatch.color": "#b0b8bf",
    "hatch.linewidth": 0.6,
}
_STAR: Any = {"color": "#ffd23f", "markeredgecolor": "#22303c"}
_PATH, _TRUE = "#ffffff", "#d55e00"


def draw_surfaces(surfaces: Sequence[Surface], stem: Path, *, title: str) -> list[Path]:
    """Writes `stem`.png, .svg and, for planes, .html; returns their paths.

    Args:
        surfaces: one, or several of the same kind side by side.
        stem: the path without its suffix.
        title: what was measured.
    """
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    with mpl.rc_context(STYLE):
        figure = _figure(surfaces, title)
        FigureCanvasAgg(figure)
        for path in paths:
            write_figure(figure, path, bbox_inches="tight")
    if len(surfaces[0].y) > 1:
        paths.append(stem.with_name(f"{stem.name}.html"))
        write_whole(paths[-1], surface_page(surfaces, title=title).encode())
    return paths


def _figure(surfaces: Sequence[Surface], title: str) -> Figure:
    flat = len(surfaces[0].y) == 1
    count = len(surfaces)
    width, height = (7.4, 4.6) if flat else (6.9, 6.4)
    figure = Figure(figsize=(width * count, height), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False, sharey=True)[0]
    shades = _shades(surfaces)
    for axes, surface in zip(panels, surfaces, strict=True):
        if flat:
            _profile(axes, surface)
        else:
            _map(figure, axes, surface, shades)
        policy = f" · batch norm: {surface.about['policy']}" if count > 1 else ""
        axes.set_title(literal(f"{title}{policy}"), loc="left")
    for axes in panels[1:]:
        axes.set_ylabel("")
    lines = notes(surfaces[0]) if count == 1 else notes_of_several(surfaces)
    figure.supxlabel("\n".join(lines), fontsize=8.2, x=0.01, ha="left")
    return figure


def _shades(surfaces: Sequence[Surface]) -> Normalize:
    known = np.concatenate([s.height[np.isfinite(s.height)] for s in surfaces])
    low, high = float(known.min()), float(known.max())
    if low > 0:
        return LogNorm(low, max(high, low * 1.001))
    return Normalize(low, max(high, low + 1e-12))


def _map(figure: Figure, axes: Axes, surface: Surface, shades: Normalize) -> None:
    axes.set_facecolor("#f4f5f6")
    axes.patch.set_hatch("////")
    height = np.ma.masked_invalid(surface.height)
    mesh = axes.pcolormesh(
        surface.x,
        surface.y,
        height,
        norm=shades,
        cmap=COLOURS,
        shading="nearest" if height.mask.any() else "gouraud",
        rasterized=True,
    )
    _contours(axes, surface, height, shades)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.86, pad=0.02)
    bar.set_label("loss, logarithmic scale" if isinstance(shades, LogNorm) else "loss")
    bar.outline.set_visible(False)
    axes.set_xlim(surface.x[0], surface.x[-1])
    axes.set_ylim(surface.y[0], surface.y[-1])
    _mark(axes, surface)
    labels = surface.about.get("labels", ["", ""])
    axes.set(xlabel=labels[0], ylabel=labels[1])
    if surface.about.get("along") != "trajectory":
        axes.set_aspect("equal")


def _contours(axes: Axes, surface: Surface, height: Any, shades: Normalize) -> None:
    low, high = float(shades.vmin or 0), float(shades.vmax or 1)
    spaced = np.geomspace if isinstance(shades, LogNorm) else np.linspace
    if high <= low * 1.01:
        return
    axes.contour(
        surface.x,
        surface.y,
        height,
        levels=spaced(low, high, 16)[1:-1],
        colors="white",
        linewidths=0.6,
        alpha=0.55,
    )


def _mark(axes: Axes, surface: Surface) -> None:
    x, y, lowest = surface.minimum
    path = surface.trajectory
    if len(path):
        axes.plot(path["x"], path["y"], color=_PATH, linewidth=1.6, zorder=3)
        size = 18 + 90 * path["off_plane"]
        axes.scatter(
            path["x"], path["y"], s=size, facecolor=_TRUE, edgecolor=_PATH, linewidth=0.9, zorder=4
        )
        _epochs(axes, path)
    else:
        axes.plot(0, 0, marker="+", color="white", markersize=11, markeredgewidth=1.8, zorder=4)
    axes.plot(x, y, marker="*", **_STAR, markersize=15, zorder=5, clip_on=False)
    across, up = ((v - a[0]) / (a[-1] - a[0]) for v, a in ((x, surface.x), (y, surface.y)))
    axes.annotate(
        f"minimum {lowest:.3g}",
        (x, y),
        (0, 13) if up < 0.1 else (0, -18),
        ha="left" if across < 0.15 else "right" if across > 0.85 else "center",
        textcoords="offset points",
        color="white",
        fontsize=8.5,
        zorder=6,
        bbox=_box(0.65),
    )


def _box(alpha: float) -> dict[str, Any]:
    return {"boxstyle": "round,pad=0.2", "facecolor": "#22303c", "alpha": alpha, "linewidth": 0}


def _epochs(axes: Axes, path: Any) -> None:
    """Labels some points, far enough apart to read: epoch, true loss, the plane's, off-plane."""
    width, height = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
    labelled: list[tuple[float, float]] = []
    for k in [0, *range(1, len(path["x"]) - 1)]:
        x, y = float(path["x"][k]) / width, float(path["y"][k]) / height
        # A label is about a quarter of the picture wide and a tenth high.
        if any(abs(x - a) < 0.26 and abs(y - b) < 0.11 for a, b in labelled):
            continue
        labelled.append((x, y))
        rightmost = path["x"][k] > axes.get_xlim()[0] + 0.7 * width
        axes.annotate(
            _point_text(path, k),
            (path["x"][k], path["y"][k]),
            (-7, 7) if rightmost else (7, 7),
            ha="right" if rightmost else "left",
            textcoords="offset points",
            color="white",
            fontsize=7.2,
            zorder=6,
            bbox=_box(0.6),
        )


def _point_text(path: Any, k: int) -> str:
    text = f"epoch {path['epoch'][k]:.3g}"
    if math.isfinite(path["loss"][k]):
        text += f"\nloss {path['loss'][k]:.2g}, plane {path['plane_loss'][k]:.2g}"
    return text + f"\noff plane {100 * path['off_plane'][k]:.0f} %"


def _profile(axes: Axes, surface: Surface) -> None:
    loss, error = surface.height[0], np.nan_to_num(surface.standard_error[0])
    if np.nanmin(loss) > 0:
        axes.set_yscale("log")
    low = np.maximum(loss - 2 * error, np.nanmin(loss) * 1e-2)
    axes.fill_between(
        surface.x,
        low,
        loss + 2 * error,
        color="#0072b2",
        alpha=0.2,
        linewidth=0,
        label="± 2 standard errors",
    )
    axes.plot(surface.x, loss, color="#0072b2", linewidth=1.8, label="loss")
    done = surface.evaluated[0]
    axes.plot(surface.x[done], surface.loss[0][done], ".", color="#0072b2", markersize=3)
    x, _, lowest = surface.minimum
    label = f"minimum {lowest:.3g}"
    axes.plot(x, lowest, marker="*", **_STAR, markersize=14, linestyle="none", label=label)
    _stations(axes, surface.about.get("stations", []))
    axes.set(xlabel=surface.about.get("labels", [""])[0], ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False, fontsize=8.5)


def _stations(axes: Axes, stations: Sequence[float]) -> None:
    """Marks the models on the axis of a line or path between them."""
    for station in stations:
        axes.axvline(station, color="#9aa7b1", linewidth=0.9, linestyle="--")
        axes.annotate(
            f" model {station + 1}",
            (station, 1.0),
            xycoords=("data", "axes fraction"),
            va="top",
            fontsize=8.5,
        )
