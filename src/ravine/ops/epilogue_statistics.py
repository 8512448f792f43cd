"""Sums that a convolution makes of its result on the way, for the norm before it or behind it.

They travel with the tensor that they are sums of, and hold as long as nobody changes it.
"""

from typing import Any, NamedTuple

from torch import Tensor

#: Activations whose norm a convolution can apply to its images, and sum the gradients of.
SUMMABLE = ("relu", "identity")

_MOMENTS, _NORM, _GRADIENT_SUMS = "_ravine_moments", "_ravine_norm", "_ravine_gradient_sums"


class NormMade(NamedTuple):
    """How a norm has made y = act((x − mean)·rstd·weight + bias) of images x (B, C, H, W).

    Attributes:
        x: bfloat16 in channels_last.
        mean: (C,) float32.
        rstd: (C,) float32.
        weight: (C,) float32.
        bias: (C,) float32.
        activation: one of `SUMMABLE`.
    """

    x: Tensor
    mean: Tensor
    rstd: Tensor
    weight: Tensor
    bias: Tensor
    activation: str

    def arguments(self) -> dict[str, int]:
        """Returns the norm as what the C library's convolutions are told of it."""
        tensors = {
            "mean": self.mean, "rstd": self.rstd, "weight": self.weight, "bias": self.bias
        }  # fmt: skip
        addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        return {**addresses, "relu": self.activation == "relu"}


def leave_moments(y: Tensor, moments: Tensor) -> None:
    """Leaves the sums of y (B, D, H, W) and of its squares, (B, 2, D) float32, with it."""
    _leave(y, _MOMENTS, moments)


def find_moments(x: Tensor) -> Tensor | None:
    """Returns what was left with x, None if nothing was or if x has changed since."""
    moments: Tensor | None = _find(x, _MOMENTS)
    return moments


def leave_norm(y: Tensor, norm: NormMade) -> None:
    """Leaves with y how it was made; only where the sums of its gradient can be made from that."""
    if norm.activation in SUMMABLE:
        _leave(y, _NORM, norm)


def find_norm(x: Tensor) -> NormMade | None:
    """Returns what was left with x, None if nothing was or if x has changed since."""
    norm: NormMade | None = _find(x, _NORM)
    return norm


def leave_gradient_sums(dy: Tensor, mean: Tensor, sums: Tensor) -> None:
    """Leaves Σdz and Σdz·(x − mean), (parts, 2, C) float32, with a norm's gradient dy.

    Args:
        dy: (B, C, H, W), the gradient of y.
        mean: that of the norm, which tells it from others.
        sums: dz is the gradient before the activation.
    """
    _leave(dy, _GRADIENT_SUMS, (mean.data_ptr(), sums))


def find_gradient_sums(dy: Tensor, mean: Tensor) -> Tensor | None:
    """Returns what was left for the norm that has this mean, None if nothing holds."""
    address, sums = _find(dy, _GRADIENT_SUMS) or (None, None)
    return sums if address == mean.data_ptr() else None


def _leave(tensor: Tensor, name: str, what: Any) -> None:
    setattr(tensor, name, (what, tensor._version))


def _find(tensor: Tensor, name: str) -> Any:
    what, version = getattr(tensor, name, (None, -1))
    return what if version == tensor._version else None
