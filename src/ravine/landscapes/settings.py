"""Settings of a loss surface: where it lies, how finely, and what is computed besides the loss."""

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Self, final

from pydantic import ValidationInfo, field_validator, model_validator

from ravine.core.errors import SettingError
from ravine.core.settings import Settings
from ravine.core.validation import check_choice

Axis = tuple[float, float, int]
KINDS: Mapping[str, str] = {
    "random": "two random directions, filter-normalised",
    "line": "one random direction, filter-normalised",
    "trajectory": "principal components of the trajectory, about its last point",
    "models": "from model to model",
    "hessian": "eigenvectors of the two largest eigenvalues of the Hessian",
}
POLICIES: Mapping[str, str] = {
    "running": "running statistics of the centre, frozen",
    "batch": "statistics of each batch",
    "re-estimated": "statistics re-estimated at each node",
}
PLANES = ("random", "trajectory", "hessian")
_LEAST_NODES = 5  # of an axis


def require_curvlinops(what: str) -> None:
    """Raises `SettingError` where the library is missing that multiplies with the Hessian."""
    if find_spec("curvlinops") is None:
        raise SettingError(f"{what} needs curvlinops: pip install 'ravine[landscape]'")


class GridSettings(Settings):
    """What every surface needs: the grid, the time, the seed, the Hessian and the cluster."""

    nodes: int = 51
    """Nodes of an axis whose range is automatic."""

    x: Axis | None = None
    """Grid along the first direction, from:to:nodes or (from, to, nodes); by default automatic."""

    y: Axis | None = None
    """Grid along the second direction, from:to:nodes or (from, to, nodes); by default automatic."""

    budget: float | None = None
    """Seconds for the best surface that they allow (of a run also 60s, 5min); by default none: the
    whole grid is computed."""

    seed: int = 0
    """Decides the random directions and, of a run, the images."""

    sharpness: bool = False
    """Also eigenvalues, trace and density of the Hessian, with errors; beyond the budget."""

    convexity: int = 0
    """Also |λ min / λ max| of the Hessian on a grid of so many nodes a side."""

    ray: str | None = None
    """A Ray cluster that computes the nodes: HOST:PORT, or auto; by default none."""

    @field_validator("x", "y", mode="before")
    @classmethod
    def _parse_axis(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        try:
            low, high, count = value.split(":")
            return float(low), float(high), int(count)
        except ValueError:
            name = info.field_name
            raise SettingError(
                f"--{name} {value!r} is not from:to:nodes, such as --{name}=-1:1:51"
            ) from None

    @field_validator("x", "y")
    @classmethod
    def _check_axis(cls, axis: Axis | None, info: ValidationInfo) -> Axis | None:
        if axis is None:
            return None
        low, high, count = axis
        if not (math.isfinite(low) and math.isfinite(high) and low < high and count >= 2):
            raise SettingError(
                f"{info.field_name} must be (from, to, nodes) with from < to and at least 2 nodes, "
                f"got {axis}"
            )
        return axis

    @field_validator("nodes")
    @classmethod
    def _check_nodes(cls, nodes: int) -> int:
        if nodes < _LEAST_NODES:
            raise SettingError(f"nodes must be at least {_LEAST_NODES}, got {nodes}")
        return nodes

    @field_validator("convexity")
    @classmethod
    def _check_convexity(cls, side: int) -> int:
        if side < 0 or side == 1:
            raise SettingError(f"convexity must be 0 or at least 2 nodes a side, got {side}")
        return side

    @model_validator(mode="after")
    def _has_the_library(self) -> Self:
        for name in (name for name in ("sharpness", "convexity") if getattr(self, name)):
            require_curvlinops(name)
        if getattr(self, "along", None) == "hessian":
            require_curvlinops("along hessian")
        return self


@final
class SurfaceSettings(GridSettings):
    """Settings of `ravine.landscape`."""

    along: str = "random"
    """Kind of directions: random, line, trajectory, models or hessian."""

    policy: str | None = None
    """Batch norm: running, batch or re-estimated; by default running, or re-estimated between
    models."""

    precision: str = "float32"
    """float32, bfloat16, or auto: the fastest whose error at the centre is below the standard
    error there."""

    most_batches: int | None = None
    """Batches to use at most; by default all."""

    @property
    def batch_norm_policy(self) -> str:
        """The policy for batch norm, one of `POLICIES`."""
        return self.policy or ("re-estimated" if self.along == "models" else "running")

    @field_validator("along")
    @classmethod
    def _check_along(cls, along: str) -> str:
        check_choice("along", along, KINDS)
        return along

    @field_validator("policy")
    @classmethod
    def _check_policy(cls, policy: str | None) -> str | None:
        if policy:
            check_choice("policy", policy, POLICIES)
        return policy
