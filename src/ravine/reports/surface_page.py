"""The page of a surface in 3-D: one HTML file that opens offline."""

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import matplotlib as mpl
import numpy as np

from ravine.core.page_style import page_style
from ravine.reports.surface_notes import notes, seen_in
from ravine.runs.surface import Surface

COLOURS = "viridis"


def surface_page(surfaces: Sequence[Surface], *, title: str) -> str:
    """Returns a page that opens offline and shows planes in 3-D; the mouse turns them together.

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
        "colours": [mpl.colors.to_hex(c) for c in mpl.colormaps[COLOURS](np.linspace(0, 1, 64))],
        "surfaces": [
            _shown(s, f"batch norm: {s.about['policy']}" if several else "", logarithmic)
            for s in surfaces
        ],
    }
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    template = files("ravine.reports").joinpath("templates/surface.html").read_text("utf-8")
    return template.replace("/*STYLE*/", page_style()).replace("/*DATA*/null", text)


def _shown(surface: Surface, name: str, logarithmic: bool) -> dict[str, Any]:
    z = np.where(np.isfinite(surface.height), surface.height, np.nan)
    path = _on_the_plane(surface)
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
        "seen": seen_in(surface),
    }


def _on_the_plane(surface: Surface) -> dict[str, np.ndarray]:
    """Returns the trajectory with its losses on the plane: measured, else those of the grid."""
    path = dict(surface.trajectory)
    if path and len(surface.y) > 1:
        grid = _between_nodes(surface, path["x"], path["y"])
        path["plane_loss"] = np.where(np.isfinite(path["plane_loss"]), path["plane_loss"], grid)
    return path


def _between_nodes(surface: Surface, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the heights (N,) at points, bilinear between nodes; NaN outside of the grid."""
    column, right = _cell(surface.x, x)
    row, up = _cell(surface.y, y)
    z = surface.height
    low = (1 - right) * z[row, column] + right * z[row, column + 1]
    high = (1 - right) * z[row + 1, column] + right * z[row + 1, column + 1]
    return (1 - up) * low + up * high


def _cell(axis: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cell (N,) of an axis (A,) that each value lies in, and the share of it (N,)."""
    cell = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, len(axis) - 2)
    share = (at - axis[cell]) / (axis[cell + 1] - axis[cell])
    return cell, np.where((at >= axis[0]) & (at <= axis[-1]), share, np.nan)


def _plain(value: Any) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
