"""The operations of torch that a traced graph may have, each as the node that it becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.ops.traced_graph import (
    Activation,
    Affine,
    Convolution,
    Node,
    Response,
    Sum,
    UntraceableError,
    Value,
    Window,
)
from ravine.ops.traced_values import TracedValues

aten = torch.ops.aten
_FEWEST_OF_A_GROUP = 16  # channels: those of fewer leave registers empty, each group is a product


@dataclass(slots=True)
class TracedCall:
    """One operation as torch dispatched it."""

    values: TracedValues
    args: Any
    kwargs: Any
    result: Any

    def value(self, index: int) -> Value:
        """Returns the value of an argument."""
        return self.values.value(self.args[index])

    def constant(self, index: int) -> Tensor | None:
        """Returns an argument that is a parameter or buffer of any shape; None for None."""
        return None if self.args[index] is None else self.needed(index)

    def needed(self, index: int) -> Tensor:
        """Returns an argument that is a parameter or buffer of any shape."""
        return self.values.constant(self.args[index])

    def argument(self, index: int, default: Any) -> Any:
        """Returns an argument that may be left out."""
        return self.args[index] if len(self.args) > index else default

    def new_value(self, result: Tensor | None = None) -> Value:
        """Returns the value of the result, or of one of several, like the operation's in shape."""
        return self.values.new_value(self.result if result is None else result)

    def only(self, condition: bool, what: str) -> None:
        """Raises `UntraceableError` unless a condition holds."""
        if not condition:
            raise UntraceableError(what)


def _convolution(call: TracedCall) -> Node:
    stride, padding, dilation, transposed, _, groups = call.args[3:9]
    weight, x = call.needed(1), call.value(0)
    call.only(not transposed and list(dilation) == [1, 1], "transposed or dilated")
    call.only(weight.dim() == 4 and weight.shape[2] == weight.shape[3], "the kernel's sides differ")
    thinnest = min(weight.shape[1], weight.shape[0] // groups)
    call.only(groups == 1 or thinnest >= _FEWEST_OF_A_GROUP, "groups of few channels")
    sides = _same(stride), _same(padding)
    return Convolution(x, call.new_value(), weight, call.constant(2), *sides, groups)


def _batch_norm(call: TracedCall) -> Node:
    call.only(not call.args[5], "statistics of the batch")
    x, mean, var, eps = call.value(0), call.needed(3), call.needed(4), call.args[7]
    scale = (var.double() + eps).rsqrt()
    weight, bias = call.constant(1), call.constant(2)
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean.double() * scale
    if bias is not None:
        shift = shift + bias.double()
    return Affine(x, call.new_value(call.result[0]), scale, shift)


def _activation(name: str) -> Callable[[TracedCall], Node]:
    def record(call: TracedCall) -> Node:
        call.only(call.kwargs.get("approximate", "none") == "none", "an approximate GELU")
        return Activation(call.value(0), call.new_value(), name)

    return record


def _sum(call: TracedCall) -> Node:
    one, other = call.args[:2]
    call.only(isinstance(other, Tensor) and one.shape == other.shape, "shapes differ")
    call.only(call.kwargs.get("alpha", 1) == 1, "alpha")
    x, y = call.value(0), call.value(1)
    return Sum(x, y, call.new_value())


def _scaled(call: TracedCall) -> Node:
    call.only(isinstance(call.args[1], int | float), "a factor that is no number")
    x = call.value(0)
    channels = call.values.shapes[x][0]
    scale = torch.full((channels,), float(call.args[1]), dtype=torch.float64)
    return Affine(x, call.new_value(), scale, torch.zeros_like(scale))


def _max_pool(call: TracedCall) -> Node:
    kernel = call.args[1]
    stride, padding = call.argument(2, []) or kernel, call.argument(3, [0, 0])
    dilation, ceil = call.argument(4, [1, 1]), call.argument(5, False)
    call.only(set(dilation) == {1} and not ceil, "dilation, or a last window over the edge")
    x = call.value(0)
    y = call.new_value(call.result[0])
    return Window(x, y, (kernel[0], kernel[-1]), _same(stride), _same(padding), False)


def _whole_max(call: TracedCall) -> Node:
    call.only(list(call.args[1]) == [1, 1], "several windows")
    x = call.value(0)
    _, *sides = call.values.shapes[x]
    return Window(x, call.new_value(call.result[0]), (sides[0], sides[1]), 1, 0, False)


def _whole_mean(call: TracedCall) -> Node:
    axes = {axis % 4 for axis in call.args[1]}
    call.only(call.args[0].dim() == 4 and axes == {2, 3}, "a mean over other axes")
    x = call.value(0)
    _, *sides = call.values.shapes[x]
    return Window(x, call.new_value(), (sides[0], sides[1]), 1, 0, True)


def _mean_pool(call: TracedCall) -> Node:
    kernel, padding = call.args[1], call.argument(3, [0, 0])
    stride, ceil = call.argument(2, []) or kernel, call.argument(4, False)
    call.only(not any(padding) and not ceil, "windows over the edge")
    call.only(call.argument(6, None) is None, "another divisor")
    x = call.value(0)
    return Window(x, call.new_value(), (kernel[0], kernel[-1]), _same(stride), 0, True)


def _even_means(call: TracedCall) -> Node:
    """Adaptive pooling to so many windows, where each has as many pixels."""
    x = call.value(0)
    _, *sides = call.values.shapes[x]
    counts = call.args[1]
    left = [side % count for side, count in zip(sides, counts, strict=True)]
    call.only(not any(left), "uneven windows")
    kernel = sides[0] // counts[0], sides[1] // counts[1]
    return Window(x, call.new_value(), kernel, _same(kernel), 0, True)


def _more_channels(call: TracedCall) -> Node:
    """Channels of zeros before and after: a convolution that takes each channel to its place."""
    left, right, top, bottom, before, after = call.args[1]
    call.only(not (left or right or top or bottom) and not call.argument(2, 0.0), "padded sides")
    x, stride = call.values.subsampled(call.args[0])
    channels = call.values.shapes[x][0]
    weight = F.pad(torch.eye(channels), (0, 0, before, after))[:, :, None, None]
    return Convolution(x, call.new_value(), weight, None, stride, 0)


def _linear(call: TracedCall) -> Node:
    """addmm(bias, x, weightᵀ) or mm(x, weightᵀ): of pixels in a row a convolution of them all."""
    first = len(call.args) - 2
    call.only(not call.kwargs, "factors of the summands")
    x = call.values.vector(call.args[first])
    channels, height, width = call.values.shapes[x]
    call.only(height == width, "pixels as channels, of sides that differ")
    weight = call.needed(first + 1).t().reshape(-1, channels, height, width)
    bias = call.needed(0) if first else None
    return Convolution(x, call.new_value(), weight, bias, 1, 0)


def response_norm(
    call: TracedCall, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Node:
    """Returns the node of a call of `F.local_response_norm` with an image (1, C, H, W).

    Raises:
        UntraceableError: it is called with something else.
    """
    call.only(call.args[0].dim() == 4, "a response norm of other than images")
    return Response(call.value(0), call.new_value(), size, alpha, beta, k)


def _same(pair: Any) -> int:
    sides = {int(one) for one in pair}
    if len(sides) != 1:
        raise UntraceableError("sides differ")
    return sides.pop()


IGNORED = {aten.empty.memory_format}  # of batch norm, which returns it
VIEWS = {
    aten.view.default, aten._unsafe_view.default, aten.clone.default, aten.t.default,
    aten.detach.default, aten.alias.default, aten.as_strided_.default,
}  # fmt: skip
OPERATIONS: Mapping[Any, Callable[[TracedCall], Node]] = {
    aten.convolution.default: _convolution,
    aten.native_batch_norm.default: _batch_norm,
    aten.relu.default: _activation("relu"),
    aten.relu_.default: _activation("relu"),
    aten.gelu.default: _activation("gelu"),
    aten.gelu_.default: _activation("gelu"),
    aten.silu.default: _activation("silu"),
    aten.silu_.default: _activation("silu"),
    aten.add.Tensor: _sum,
    aten.add_.Tensor: _sum,
    aten.mul.Tensor: _scaled,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten.adaptive_max_pool2d.default: _whole_max,
    aten.mean.dim: _whole_mean,
    aten.avg_pool2d.default: _mean_pool,
    aten._adaptive_avg_pool2d.default: _even_means,
    aten.constant_pad_nd.default: _more_channels,
    aten.addmm.default: _linear,
    aten.mm.default: _linear,
}
