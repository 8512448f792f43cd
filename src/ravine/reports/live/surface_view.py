"""Loss surfaces of a run as a page draws them, also while their grids fill."""

import math
from typing import Any

import numpy as np

from ravine.core.errors import RunError
from ravine.runs.folder import RunFolder
from ravine.runs.links import is_own_file
from ravine.runs.surface import Surface

_MOST = 8  # surfaces of a run
_FIRST = 1 << 24  # bytes of a file that is drawn


def surface_views(folder: RunFolder) -> list[dict[str, Any]]:
    """Returns each surface of a run: its axes, the nodes computed so far, its trajectory."""
    if folder.surfaces.is_symlink() or not folder.surfaces.is_dir():
        return []
    found = []
    for path in sorted(folder.surfaces.glob("*.npz"))[:_MOST]:
        if not is_own_file(folder.path, path) or path.stat().st_size > _FIRST:
            continue
        try:
            found.append(_view(path.stem, Surface.load(path)))
        except RunError:
            continue  # it is being written, or is no surface
    return found


def _view(name: str, surface: Surface) -> dict[str, Any]:
    known = np.where(surface.evaluated, surface.loss, np.nan)
    path = surface.trajectory
    names = ("x", "y", "loss", "epoch")
    points = zip(*(path[key] for key in names), strict=True) if len(path) else ()
    return {
        "name": name,
        "x": [_plain(v) for v in surface.x],
        "y": [_plain(v) for v in surface.y],
        "loss": [[_plain(v) for v in row] for row in known],
        "done": int(surface.evaluated.sum()),
        "of": int(surface.evaluated.size),
        "labels": [str(one) for one in surface.about.get("labels", ["", ""])],
        "points": [[_plain(v) for v in point] for point in points],
    }


def _plain(value: Any) -> float | None:
    number = float(value)
    return float(f"{number:.5g}") if math.isfinite(number) else None
