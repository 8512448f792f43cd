"""The activity of the units of each activation on a batch: dead, or at the ends of their range.

Every call of an activation function is seen, as a layer or as a plain function.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_ENDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hardtanh": (-1.0, 1.0)}
KINDS = ("relu", *_ENDS)
_NEAR_END = 0.02  # of the range


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitActivity:
    """One call of an activation.

    Attributes:
        layer: dotted name of the module in which it ran.
        kind: relu, sigmoid, tanh or hardtanh.
        units: channels or features.
        dead: share of them that are 0 on the whole batch; of relu only.
        saturated: share of all values at the ends of the range; not of relu.
    """

    layer: str
    kind: str
    units: int
    dead: float
    saturated: float


@torch.no_grad()
def unit_activity(out: Tensor, kind: str, layer: str) -> UnitActivity:
    """Returns the activity of an activation's result (N, D), (N, T, D) or (N, C, …)."""
    inactive = inactive_units(out)
    return UnitActivity(
        layer=layer,
        kind=kind,
        units=len(inactive),
        dead=float(inactive.double().mean()) if kind == "relu" else 0.0,
        saturated=float(saturation(out, kind)) if kind in _ENDS else 0.0,
    )


def inactive_units(out: Tensor) -> Tensor:
    """Returns which units of (N, D), (N, T, D) or (N, C, …) are 0 on the whole batch, (units,)."""
    return (_by_unit(out) == 0).all(1)


def saturation(out: Tensor, kind: str) -> Tensor:
    """Returns the share of values at the ends of the range of an activation, 0-dim float64.

    Args:
        out: of any shape.
        kind: sigmoid, tanh or hardtanh.
    """
    low, high = _ENDS[kind]
    near = (high - low) * _NEAR_END
    return ((out < low + near) | (out > high - near)).double().mean()


def _by_unit(out: Tensor) -> Tensor:
    units = out if out.dim() != 3 else out.transpose(1, 2)
    return units.transpose(0, 1).flatten(1)
