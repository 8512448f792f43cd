"""Pictures of the Hessian of a surface: its spectrum, and where the loss is convex."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ravine.reports.figure_file import write_figure
from ravine.reports.figure_style import literal
from ravine.reports.surface_figures import STYLE
from ravine.runs.surface import Surface

_INK, _BAND = "#0072b2", "#d55e00"
_FLOOR = 1e-9  # of a density's peak; Lanczos does not resolve less


def draw_sharpness(surface: Surface, stem: Path, *, title: str) -> list[Path]:
    """Writes `stem`.png and .svg if there is a density or a convexity map; returns their paths.

    Args:
        surface: one with `sharpness`.
        stem: the path without its suffix.
        title: what was measured.
    """
    has = [name for name in ("density", "convexity") if name in surface.sharpness]
    if not has:
        return []
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6 * len(has), 5.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels = dict(zip(has, figure.subplots(1, len(has), squeeze=False)[0], strict=True))
        if "density" in panels:
            _spectrum(panels["density"], surface)
        if "convexity" in panels:
            _convexity(figure, panels["convexity"], surface)
        panels[has[0]].set_title(literal(title), loc="left")
        text = "\n".join(sharpness_notes(surface))
        figure.supxlabel(text, fontsize=8.2, x=0.01, ha="left")
        for path in paths:
            write_figure(figure, path)
    return paths


def sharpness_notes(surface: Surface) -> list[str]:
    """Returns eigenvalues, trace and convexity in words, with their errors."""
    found, lines = surface.sharpness, []
    if "eigenvalues" in found:
        pairs = zip(found["eigenvalues"], found["residuals"], strict=True)
        lines.append("largest eigenvalues " + ", ".join(f"{v:.4g} ± {r:.1g}" for v, r in pairs))
        value, error = found["trace"]
        lines.append(f"trace {value:.4g} ± {error:.2g} (standard error)")
        along = ", ".join(f"{v:.4g}" for v in found["along"])
        lines.append(f"curvature along the directions, for a step of length 1: {along}")
    if "convexity" in found:
        ratio = found["convexity"]
        holes = int(np.isnan(ratio).sum())
        lines.append(
            f"|λ min / λ max| on {ratio.size} nodes: {np.nanmedian(ratio):.2g} in the middle, "
            f"{np.nanmax(ratio):.2g} at most" + (f"; {holes} nodes are holes" if holes else "")
            if holes < ratio.size
            else "no node has eigenvalues that could be had"
        )
    norm = "; batch norm with running statistics" if surface.about.get("batch_norm") else ""
    return [*lines, f"Hessian of the mean loss over the same {surface.about['count']} values{norm}"]


def _spectrum(axes: Axes, surface: Surface) -> None:
    found = surface.sharpness
    grid, density = found["grid"], found["density"]
    floor = _FLOOR * density.max()
    error = 2 * found["density_error"]
    low, high = np.maximum(density - error, floor), np.maximum(density + error, floor)
    axes.fill_between(
        grid, low, high, color=_INK, alpha=0.2, linewidth=0, label="± 2 standard errors"
    )
    axes.plot(grid, np.maximum(density, floor), color=_INK, linewidth=1.6, label="density")
    for k, value in enumerate(found["eigenvalues"]):
        axes.axvline(value, color=_BAND, linewidth=1.1, label=None if k else "largest eigenvalues")
    axes.axvline(0, color="#9aa7b1", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(floor, None)
    axes.set(xlabel="eigenvalue of the Hessian", ylabel="share of eigenvalues per unit")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.legend(fontsize=8.5, framealpha=0.9, edgecolor="none")


def _convexity(figure: Figure, axes: Axes, surface: Surface) -> None:
    found = surface.sharpness
    ratio = np.ma.masked_invalid(found["convexity"])
    x, y = found["convexity_x"], found["convexity_y"]
    labels = surface.about.get("labels", ["", ""])
    if len(y) == 1:
        axes.plot(x, ratio[0], "o-", color=_INK, linewidth=1.6, markersize=4)
        axes.set_ylim(0, None)
        axes.set(xlabel=labels[0], ylabel="|λ min / λ max|")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
        return
    axes.set_facecolor("#f4f5f6")
    axes.patch.set_hatch("////")
    top = max(float(ratio.max()) if ratio.count() else 0.0, 0.01)
    mesh = axes.pcolormesh(x, y, ratio, cmap="magma_r", vmin=0, vmax=min(1.0, top))
    bar = figure.colorbar(mesh, ax=axes, shrink=0.86, pad=0.02, extend="max" if top > 1 else None)
    bar.set_label("|λ min / λ max|; 0 is convex")
    bar.outline.set_visible(False)
    axes.plot(0, 0, marker="+", color="#22303c", markersize=11, markeredgewidth=1.8)
    axes.set(xlabel=labels[0], ylabel=labels[1])
