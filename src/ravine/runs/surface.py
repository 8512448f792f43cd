"""A loss surface as plain arrays, and the .npz file that it is saved to and redrawn from.

Shape letters: X nodes along the first direction, Y along the second, T points of a trajectory.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.atomic import write_whole
from ravine.core.errors import RunError
from ravine.core.html_table import html_table
from ravine.core.json_text import parse_json
from ravine.core.regular_file import read_regular
from ravine.runs.roughness import roughness_of
from ravine.runs.rows import plain

_ARRAYS = ("x", "y", "loss", "standard_error", "evaluated", "height")
_PATH, _SHARP = "trajectory_", "sharpness_"


@dataclass(frozen=True, kw_only=True, repr=False)
class Surface:
    """The loss over a plane, or along a line or path where Y is 1.

    Attributes:
        x: (X,) coordinates along the first direction.
        y: (Y,) coordinates along the second.
        loss: (Y, X) float64; NaN where no node was computed. Rows follow `y`, columns `x`.
        standard_error: (Y, X) of each node's mean loss; NaN where it has a single value.
        evaluated: (Y, X) bool, the nodes that were computed.
        height: (Y, X) the loss, between computed nodes interpolated in its logarithm; NaN is a
            hole: the loss there is not finite.
        about: how the surface was made, as plain values, with `roughness`.
        trajectory: arrays (T,) `step`, `epoch`, `x`, `y`, `loss` (true), `plane_loss` (at the
            projection) and `off_plane` (distance to the plane over that to the last point).
        sharpness: empty unless requested. Of the Hessian at the centre `eigenvalues` (the largest)
            with `residuals`, `trace` (value, standard error), `grid`, `density`, `density_error`,
            and `along` (dᵀHd/dᵀd of each direction); `convexity` |λ_min/λ_max| (C_y, C_x) at
            `convexity_x`, `convexity_y`.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    standard_error: np.ndarray
    evaluated: np.ndarray
    height: np.ndarray
    about: Mapping[str, Any] = field(default_factory=dict)
    trajectory: Mapping[str, np.ndarray] = field(default_factory=dict)
    sharpness: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def minimum(self) -> tuple[float, float, float]:
        """Coordinates (x, y) and loss of the lowest node that was computed, or of the centre."""
        known = np.where(self.evaluated & np.isfinite(self.loss), self.loss, np.inf)
        row, column = np.unravel_index(int(known.argmin()), known.shape)
        lowest = float(self.x[column]), float(self.y[row]), float(self.loss[row, column])
        centre = self.about.get("centre_loss")
        if centre is None or not self._holds_centre or centre >= lowest[2]:
            return lowest
        return 0.0, 0.0, float(centre)

    def __repr__(self) -> str:
        x, y, lowest = self.minimum
        rows, columns = self.loss.shape
        about = f"{int(self.evaluated.sum())} of {rows * columns} nodes"
        along, policy = self.about.get("along", "?"), self.about.get("policy", "?")
        return (
            f"Surface({columns}×{rows}, {about}, along {along}, batch norm {policy}, lowest loss "
            f"{lowest:.4g} at ({x:.3g}, {y:.3g}))"
        )

    def _repr_html_(self) -> str:
        rows = [(name, f"{value:.4g}") for name, value in self.roughness.items()]
        return html_table(repr(self), ("of its shape", ""), rows)

    @property
    def _holds_centre(self) -> bool:
        return all(float(axis[0]) <= 0 <= float(axis[-1]) for axis in (self.x, self.y))

    @property
    def roughness(self) -> dict[str, float]:
        """`non_convex` and `log_range` of `height`, see `roughness_of`.

        `log_range` is NaN unless the directions are random: only these have the norm of the
        weights, which radius 1 refers to.
        """
        precision = str(self.about.get("precision", "float32"))
        found = roughness_of(self.x, self.y, self.height, precision=precision)
        if self.about.get("along") not in ("random", "line"):
            found["log_range"] = float("nan")
        return found

    def save(self, path: str | Path) -> Path:
        """Writes the surface to `path` (.npz) atomically.

        Raises:
            RunError: the disk is full or read-only.
        """
        path = Path(path)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"{_PATH}{name}": values for name, values in self.trajectory.items()}
        arrays |= {f"{_SHARP}{name}": values for name, values in self.sharpness.items()}
        buffer = io.BytesIO()
        text = json.dumps(plain({**self.about, "roughness": self.roughness}), sort_keys=True)
        np.savez_compressed(buffer, about=np.array(text), **arrays)
        write_whole(path, buffer.getvalue())
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Surface":
        """Returns the surface of a file.

        Raises:
            RunError: the file is missing or torn.
        """
        try:
            with np.load(io.BytesIO(read_regular(Path(path))), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = parse_json(str(arrays.pop("about")))
            parts = {name: arrays.pop(name) for name in _ARRAYS}
        except FileNotFoundError:
            raise RunError(f"no surface {path}; make one: ravine landscape RUN") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"{path} is torn or holds no surface: {error}") from error
        trajectory, sharpness = (
            {name.removeprefix(start): v for name, v in arrays.items() if name.startswith(start)}
            for start in (_PATH, _SHARP)
        )
        return cls(about=about, trajectory=trajectory, sharpness=sharpness, **parts)
