"""A loss surface in a page: drawn anew from its numbers, in vectors and in the page's colours."""

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import NullFormatter

from ravine.core.errors import RunError
from ravine.reports.curve_figures import PLAIN, figure_of, log_ticks, svg_of
from ravine.reports.direct_labels import End, label_ends
from ravine.reports.figure_style import ACCENT, SECOND, literal
from ravine.reports.surface_notes import notes, seen_in
from ravine.reports.surface_page import COLOURS
from ravine.runs.links import is_own_file
from ravine.runs.surface import Surface

_MOST = 8  # surfaces of a run
_LARGEST = 1 << 24  # bytes of a file that is drawn
_LEVELS = 14  # contours


class SurfaceDrawing:
    """A surface of a run in its report.

    Attributes:
        title: what is seen, in a sentence.
        drawing: SVG.
        notes: what the picture leaves out.
        page: path of the page in 3-D, relative to the run; None where there is none.
    """

    def __init__(self, name: str, surface: Surface, page: str | None) -> None:
        self.title = seen_in(surface)
        self.drawing = Markup(surface_svg(surface, title=f"{name}: {self.title}"))
        self.notes = notes(surface)
        self.page = page


def surface_drawings(run: Path) -> list[SurfaceDrawing]:
    """Returns the surfaces of a run; a file that is torn, or no surface, is left out."""
    folder = run / "landscape"
    found = []
    for path in sorted(folder.glob("*.npz"))[:_MOST]:
        if not is_own_file(run, path) or path.stat().st_size > _LARGEST:
            continue
        page = path.with_suffix(".html")
        linked = f"landscape/{page.name}" if is_own_file(run, page) else None
        try:
            found.append(SurfaceDrawing(path.stem, Surface.load(path), linked))
        except (RunError, ValueError, KeyError, TypeError):  # a stranger's numbers
            continue
    return found


def surface_svg(surface: Surface, *, title: str) -> str:
    """Returns the surface as SVG for a page: a map with contours, or a profile.

    Args:
        surface: a plane, or a line where it has one row.
        title: for readers who do not see it.
    """
    with figure_of(6.4, 4.7 if len(surface.y) > 1 else 2.9) as (figure, axes):
        if len(surface.y) > 1:
            mesh = _map(axes, surface)
            bar = figure.colorbar(mesh, ax=axes, pad=0.02, **_ticks(mesh))
            bar.ax.yaxis.set_minor_formatter(NullFormatter())
            bar.set_label("loss")
            bar.outline.set_visible(False)
        else:
            _profile(axes, surface)
        labels = [*surface.about.get("labels", ["", ""]), ""]
        axes.set(xlabel=literal(str(labels[0])))
        if len(surface.y) > 1:
            axes.set(ylabel=literal(str(labels[1])))
            _path(axes, surface)
    return svg_of(figure, title)


def _ticks(mesh: mpl.cm.ScalarMappable) -> dict[str, Any]:
    """Returns the ticks of a colour bar: plain numbers, also on a logarithmic scale."""
    if not isinstance(mesh.norm, LogNorm):
        return {}
    return {"ticks": log_ticks(*mesh.get_clim()), "format": PLAIN}


def _map(axes: Axes, surface: Surface) -> mpl.cm.ScalarMappable:
    height = np.ma.masked_invalid(surface.height)
    low, high = float(height.min()), float(height.max())
    logarithmic = low > 0
    norm = LogNorm(low, max(high, low * 1.001)) if logarithmic else Normalize(low, high + 1e-12)
    mesh = axes.pcolormesh(
        surface.x, surface.y, height, norm=norm, cmap=COLOURS,
        shading="nearest" if height.mask.any() else "gouraud", rasterized=True,
    )  # fmt: skip
    if high > low * 1.01:
        spaced = np.geomspace if logarithmic else np.linspace
        levels = spaced(low, high, _LEVELS)[1:-1]
        axes.contour(surface.x, surface.y, height, levels=levels, colors="white", linewidths=0.6)
    axes.grid(visible=False)
    axes.set_xlim(surface.x[0], surface.x[-1])
    axes.set_ylim(surface.y[0], surface.y[-1])
    return mesh


def _path(axes: Axes, surface: Surface) -> None:
    """Draws the training's path with its start and its end, and the lowest point."""
    path, ends = surface.trajectory, []
    if len(path):
        axes.plot(path["x"], path["y"], color="white", linewidth=3)
        axes.plot(path["x"], path["y"], color=SECOND, linewidth=1.4, marker=".", markersize=4)
        for k, word, marker in ((0, "start", "s"), (-1, "end", "o")):
            x, y, loss = (float(path[name][k]) for name in ("x", "y", "loss"))
            axes.plot(x, y, marker, color=SECOND, markeredgecolor="white", markersize=8)
            said = f", loss {loss:.3g}" if math.isfinite(loss) else ""
            ends.append((x, y, f"{word}{said}"))
    x, y, lowest = surface.minimum
    axes.plot(x, y, "*", color="#ffd23f", markeredgecolor="#22303c", markersize=13, clip_on=False)
    ends.append((x, y, f"least {lowest:.3g}"))
    label_ends(axes, [End(x, y, text, "#ffffff") for x, y, text in ends])
    for text in axes.texts:
        text.set_bbox({"boxstyle": "round,pad=0.2", "facecolor": "#22303c", "linewidth": 0})


def _profile(axes: Axes, surface: Surface) -> None:
    loss = surface.height[0]
    error = np.nan_to_num(surface.standard_error[0])
    if np.nanmin(loss) > 0:
        axes.set_yscale("log")
    low = np.maximum(loss - 2 * error, np.nanmin(loss) * 1e-2)
    axes.fill_between(surface.x, low, loss + 2 * error, color=ACCENT, alpha=0.2, linewidth=0)
    axes.plot(surface.x, loss, color=ACCENT, linewidth=1.7)
    axes.set(ylabel="loss, ± 2 standard errors")
    for station in surface.about.get("stations", []):
        axes.axvline(float(station), color="#9aa7b1", linewidth=0.9, linestyle="--")
