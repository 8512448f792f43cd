"""Pictures of loss surfaces: contour and heat map, profile, and a page to turn it in 3-D.

Each picture says what it leaves out: holes stay holes, the batch-norm policy, the share of the
trajectory's length that the plane holds, and the number of nodes stand on it.
"""

import io
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from ravine.core.atomic import write_whole
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
_COLOURS = "viridis"
_PATH, _TRUE = "#ffffff", "#d55e00"


def draw_surfaces(surfaces: Sequence[Surface], stem: Path, *, title: str) -> list[Path]:
    """Writes `stem`.png, .svg and, for planes, .html; returns their paths.

    Args:
        surfaces: one, or several of the same kind side by side.
        stem: the path without its ending.
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


def write_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Writes a figure, whole or not at all; a link that lies there is replaced and not followed.

    Args:
        figure: what to draw.
        path: where to; .png or .svg.
        **options: of `Figure.savefig`.

    Raises:
        RunError: the disk does not allow it.
    """
    kind = path.suffix.removeprefix(".")
    about: Any = {"Date": None} if kind == "svg" else {}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150, facecolor="white", metadata=about, **options)
    write_whole(path, buffer.getvalue())


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
        axes.set_title(f"{title}{policy}", loc="left")
    for axes in panels[1:]:
        axes.set_ylabel("")
    said = notes(surfaces[0]) if count == 1 else _notes_of_several(surfaces)
    figure.supxlabel("\n".join(said), fontsize=8.2, x=0.01, ha="left")
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
    mesh = (
        axes.pcolormesh(
            surface.x,
            surface.y,
            height,
            norm=shades,
            cmap=_COLOURS,
            shading="gouraud",
            rasterized=True,
        )
        if not height.mask.any()
        else axes.pcolormesh(
            surface.x,
            surface.y,
            height,
            norm=shades,
            cmap=_COLOURS,
            shading="nearest",
            rasterized=True,
        )
    )
    logarithmic = isinstance(shades, LogNorm)
    low, high = float(shades.vmin or 0), float(shades.vmax or 1)
    levels = np.geomspace(low, high, 16) if logarithmic else np.linspace(low, high, 16)
    if high > low * 1.01:
        axes.contour(
            surface.x,
            surface.y,
            height,
            levels=levels[1:-1],
            colors="white",
            linewidths=0.6,
            alpha=0.55,
        )
    bar = figure.colorbar(mesh, ax=axes, shrink=0.86, pad=0.02)
    bar.set_label("loss, logarithmic scale" if logarithmic else "loss")
    bar.outline.set_visible(False)
    axes.set_xlim(surface.x[0], surface.x[-1])
    axes.set_ylim(surface.y[0], surface.y[-1])
    _mark(axes, surface)
    labels = surface.about.get("labels", ["", ""])
    axes.set(xlabel=labels[0], ylabel=labels[1])
    if surface.about.get("along") != "trajectory":
        axes.set_aspect("equal")


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
    star: Any = {"color": "#ffd23f", "markeredgecolor": "#22303c", "markersize": 15}
    axes.plot(x, y, marker="*", **star, zorder=5, clip_on=False)
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
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "#22303c", "alpha": 0.65, "linewidth": 0},
    )


def _epochs(axes: Axes, path: Any) -> None:
    """Names some points, far enough apart to read: epoch, true loss, the plane's, off-plane."""
    width, height = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
    told: list[tuple[float, float]] = []
    for k in [0, *range(1, len(path["x"]) - 1)]:
        x, y = float(path["x"][k]) / width, float(path["y"][k]) / height
        # A label is about a quarter of the picture wide and a tenth high.
        if any(abs(x - a) < 0.26 and abs(y - b) < 0.11 for a, b in told):
            continue
        told.append((x, y))
        text = f"epoch {path['epoch'][k]:.3g}"
        if math.isfinite(path["loss"][k]):
            text += f"\nloss {path['loss'][k]:.2g}, plane {path['plane_loss'][k]:.2g}"
        text += f"\noff plane {100 * path['off_plane'][k]:.0f} %"
        rightmost = path["x"][k] > axes.get_xlim()[0] + 0.7 * width
        axes.annotate(
            text,
            (path["x"][k], path["y"][k]),
            (-7, 7) if rightmost else (7, 7),
            ha="right" if rightmost else "left",
            textcoords="offset points",
            color="white",
            fontsize=7.2,
            zorder=6,
            bbox={
                "boxstyle": "round,pad=0.2",
                "facecolor": "#22303c",
                "alpha": 0.6,
                "linewidth": 0,
            },
        )


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
    axes.plot(
        x,
        lowest,
        marker="*",
        color="#ffd23f",
        markeredgecolor="#22303c",
        markersize=14,
        linestyle="none",
        label=f"minimum {lowest:.3g}",
    )
    for station in surface.about.get("stations", []):
        axes.axvline(station, color="#9aa7b1", linewidth=0.9, linestyle="--")
        axes.annotate(
            f" model {station + 1}",
            (station, 1.0),
            xycoords=("data", "axes fraction"),
            va="top",
            fontsize=8.5,
        )
    axes.set(xlabel=surface.about.get("labels", [""])[0], ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False, fontsize=8.5)


def notes(surface: Surface) -> list[str]:
    """Returns what a reader must know to take the picture for no more than it is."""
    about = surface.about
    norm = "no batch norm"
    if about.get("batch_norm"):
        norm = f"batch norm: {about.get('policy_text')}"
    lines = [f"{about.get('kind')}; {norm}", _centre(surface), _nodes(surface), *_held(surface)]
    lines += [part for part in (_holes(surface), roughness_note(surface)) if part]
    return [*lines, _slice(surface)]


def _notes_of_several(surfaces: Sequence[Surface]) -> list[str]:
    """Returns what is common to the policies, then what is each one's own."""
    first = surfaces[0]
    lines = [str(first.about.get("kind")), _nodes(first), *_held(first)]
    for surface in surfaces:
        own = [_centre(surface), roughness_note(surface), _holes(surface)]
        text = surface.about.get("policy_text")
        lines.append(f"batch norm, {text}: " + "; ".join(part for part in own if part))
    return [*lines, _slice(first)]


def _centre(surface: Surface) -> str:
    about = surface.about
    text = f"loss at the centre {about.get('centre_loss', math.nan):.3g}"
    error = about.get("centre_error")
    if error is None or not math.isfinite(error):
        return text
    return f"{text} ± {error:.2g} (standard error, {about.get('count')} values)"


def _nodes(surface: Surface) -> str:
    about = surface.about
    text = f"{about.get('nodes')} of {about.get('of_nodes')} nodes computed"
    if about.get("nodes") != about.get("of_nodes"):
        text += ", the rest interpolated"
    return f"{text}; {about.get('precision')}"


def _held(surface: Surface) -> list[str]:
    if "explained" not in surface.about:
        return []
    off = np.asarray(surface.trajectory["off_plane"])
    return [
        f"the plane holds {100 * sum(surface.about['explained']):.1f} % of the trajectory's "
        f"squared length; points lie up to {100 * off.max():.0f} % off it (larger dots), "
        f"the first {100 * off[0]:.0f} %"
    ]


def _holes(surface: Surface) -> str:
    holes = int((~np.isfinite(surface.height)).sum())
    return f"{holes} nodes are holes (hatched): the loss there is not finite" if holes else ""


def _slice(surface: Surface) -> str:
    slices = 2 if len(surface.y) > 1 else 1
    return f"a {slices}-dimensional slice of {surface.about.get('parameters', 0):,} parameters"


def roughness_note(surface: Surface) -> str:
    """Returns the figures of roughness in words; nothing if the surface is too small for them."""
    rough = surface.roughness
    if not math.isfinite(rough["non_convex"]):
        return ""
    what = "plane" if len(surface.y) > 1 else "line"
    text = f"not convex on {100 * rough['non_convex']:.1f} % of the {what}"
    if math.isfinite(rough["log_range"]):
        axes = [surface.x, surface.y] if len(surface.y) > 1 else [surface.x]
        radius = min(1.0, *(max(-axis[0], axis[-1]) for axis in axes))
        text += f"; log₁₀ loss ranges over {rough['log_range']:.2f} within radius {radius:.3g}"
    return text


def surface_page(surfaces: Sequence[Surface], *, title: str) -> str:
    """Returns a page that opens offline and shows planes in 3-D, to be turned by hand together.

    Args:
        surfaces: one, or several that differ in the policy for batch norm.
        title: what was measured.
    """
    known = np.concatenate([s.height[np.isfinite(s.height)] for s in surfaces])
    logarithmic = bool((known > 0).all())
    several = len(surfaces) > 1
    data = {
        "title": title,
        "log": logarithmic,
        "colours": [mpl.colors.to_hex(c) for c in mpl.colormaps[_COLOURS](np.linspace(0, 1, 64))],
        "surfaces": [
            _shown(s, f"batch norm: {s.about['policy']}" if several else "", logarithmic)
            for s in surfaces
        ],
    }
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    template = files("ravine.reports").joinpath("templates/surface.html").read_text("utf-8")
    return template.replace("/*DATA*/null", text)


def _shown(surface: Surface, name: str, logarithmic: bool) -> dict[str, Any]:
    z = np.where(np.isfinite(surface.height), surface.height, np.nan)
    path = surface.trajectory
    count = len(path["x"]) if len(path) else 0
    return {
        "name": name,
        "x": surface.x.tolist(),
        "y": surface.y.tolist(),
        "z": [[_plain(v) for v in row] for row in (np.log10(z) if logarithmic else z)],
        "minimum": list(surface.minimum),
        "points": [{name: _plain(path[name][k]) for name in path} for k in range(count)],
        "labels": surface.about.get("labels", ["", ""]),
        "notes": notes(surface),
    }


def _plain(value: Any) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
