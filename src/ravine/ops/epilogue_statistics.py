"""Epilogue statistics: sums that a convolution adds up of what it writes, for a norm.

Forward they are Σy and Σy² of each image, for the norm after the convolution; backward Σdz and
Σdz·(x − mean), for the norm before it. All functions of this room take and return them as values.
Only from one layer to the next, where a network's own code passes images only, do they
travel as an attribute of the tensor that they are sums of: other code's networks
(`use_kernels_`), an nn.Sequential and a forward hook pass on a tensor alone. An
attribute holds as long as the tensor's version counter says that nobody changed it.
"""

from typing import Any, NamedTuple

from torch import Tensor

#: Activations that a convolution can apply to its input after a norm, and sum the gradients of.
SUMMABLE = ("relu", "identity")

_OUTPUT_SUMS, _NORM, _GRADIENT_SUMS = "_ravine_output_sums", "_ravine_norm", "_ravine_gradient_sums"


class AppliedNorm(NamedTuple):
    """A norm with its statistics: act((x − mean)·rstd·weight + bias) of images x (B, C, H, W).

    Attributes:
        x: (B, C, H, W) bfloat16 or float32 in channels_last.
        mean: (C,) float32.
        rstd: (C,) float32, 1/√(var + ε).
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
        """Returns the fields of the C library's structs that describe this norm."""
        tensors = {
            "mean": self.mean, "rstd": self.rstd, "weight": self.weight, "bias": self.bias
        }  # fmt: skip
        addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        return {**addresses, "relu": self.activation == "relu"}


def attach_output_sums(y: Tensor, sums: Tensor) -> None:
    """Attaches Σy and Σy² of each image, (B, 2, D) float32, to y (B, D, H, W)."""
    _attach(y, _OUTPUT_SUMS, sums)


def output_sums_of(x: Tensor) -> Tensor | None:
    """Returns Σx and Σx² of each image, (B, 2, C) float32; None if not attached, or x changed."""
    sums: Tensor | None = _attached(x, _OUTPUT_SUMS)
    return sums


def attach_norm(y: Tensor, norm: AppliedNorm) -> None:
    """Attaches the norm that made y (B, C, H, W), where its activation is one of `SUMMABLE`."""
    if norm.activation in SUMMABLE:
        _attach(y, _NORM, norm)


def norm_of(x: Tensor) -> AppliedNorm | None:
    """Returns the norm that made x (B, C, H, W); None if not attached, or x changed."""
    norm: AppliedNorm | None = _attached(x, _NORM)
    return norm


def attach_gradient_sums(dy: Tensor, mean: Tensor, sums: Tensor) -> None:
    """Attaches Σdz and Σdz·(x − mean), (n, 2, C) float32, to the gradient of a norm's output.

    Args:
        dy: (B, C, H, W).
        mean: (C,) float32 of the norm, which identifies it.
        sums: dz is the gradient before the activation; summed over n, it is the total.
    """
    _attach(dy, _GRADIENT_SUMS, (mean.data_ptr(), sums))


def gradient_sums_of(dy: Tensor, mean: Tensor) -> Tensor | None:
    """Returns the sums for the norm with this mean, (n, 2, C) float32; None if there are none."""
    address, sums = _attached(dy, _GRADIENT_SUMS) or (None, None)
    return sums if address == mean.data_ptr() else None


def _attach(tensor: Tensor, name: str, value: Any) -> None:
    if not tensor.is_inference():  # whose changes torch does not count
        setattr(tensor, name, (value, tensor._version))


def _attached(tensor: Tensor, name: str) -> Any:
    value, version = getattr(tensor, name, (None, None))
    return value if version is not None and version == tensor._version else None
