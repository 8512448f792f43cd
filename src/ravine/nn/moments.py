"""Sums that a convolution makes of its result on the way, for the norm that comes next."""

from torch import Tensor

_NAME = "_ravine_moments"


def leave_moments(y: Tensor, moments: Tensor) -> None:
    """Leaves the sums of y (B, D, H, W) and of its squares, (B, 2, D) float32, with it."""
    setattr(y, _NAME, (moments, y._version))


def find_moments(x: Tensor) -> Tensor | None:
    """Returns what was left with x, None if nothing was or if x has changed since."""
    moments, version = getattr(x, _NAME, (None, -1))
    return moments if version == x._version else None
