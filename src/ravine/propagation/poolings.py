"""Propagation through average and max pooling."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.propagation.gaussian_moments import maximum_moments
from ravine.propagation.operations import Operation, Propagation, Signals, pair
from ravine.propagation.signals import (
    Gate,
    Gradient,
    LinearMap,
    Signal,
    at_stride,
    channel_averages,
    transposed,
    window_correlations,
)


def _window(op: Operation, signal: Signal) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Returns kernel and stride of a pooling of images."""
    if len(op.shape) != 4 or signal.mean.dim() != 3:
        return None
    if op.name.startswith("adaptive"):
        before, after = signal.mean.shape[1:], op.shape[2:]
        if any(b % a for b, a in zip(before, after, strict=True)):
            return None
        kernel = (before[0] // after[0], before[1] // after[1])
        return kernel, kernel
    kernel = pair(op.argument(1, "kernel_size"))
    stride = op.argument(2, "stride")
    return kernel, kernel if stride in (None, []) else pair(stride)


def _averaging(op: Operation, signal: Signal) -> tuple[LinearMap, Tensor] | None:
    """Returns the mean over windows or dimensions, and the correlations (K, K) in a window."""
    if op.name == "mean":
        return _mean_over_axes(op, signal)
    window = _window(op, signal)
    if window is None or (op.name == "avg_pool2d" and op.argument(6, "divisor_override")):
        return None
    within = window_correlations(signal.corr, window[0]).to(signal.mean)
    padding = op.argument(3, "padding", 0) if op.name == "avg_pool2d" else 0
    return (lambda maps: F.avg_pool2d(maps[None], *window, padding)[0]), within


def _mean_over_axes(op: Operation, signal: Signal) -> tuple[LinearMap, Tensor] | None:
    """Returns the mean over dimensions, and the correlations; None where it takes in the batch."""
    dims, keep = op.argument(1, "dim"), bool(op.argument(2, "keepdim", False))
    if dims is None:
        return None
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    rank = len(op.shape) + (0 if keep else len(dims))
    axes = tuple(d % rank - 1 for d in dims)
    if not axes or min(axes) < 0:
        return None
    if signal.corr is None:
        count = math.prod(signal.mean.shape[axis] for axis in axes)
        within = torch.eye(count, dtype=torch.float64)
    elif set(axes) == {1, 2}:
        image = (signal.mean.shape[1], signal.mean.shape[2])
        within = window_correlations(signal.corr, image)
    else:
        return None
    return (lambda maps: maps.mean(axes, keepdim=keep)), within.to(signal.mean)


def average_forward(op: Operation, signals: Signals) -> Signal | None:
    """Returns the mean over windows or dimensions, with the covariance within them."""
    (signal,) = signals
    found = _averaging(op, signal)
    if found is None:
        return None
    average, within = found
    mean = average(signal.mean)
    corr = None
    window = _window(op, signal)
    if window is not None and signal.corr is not None and mean.dim() == 3:
        corr = at_stride(signal.corr, (mean.shape[1], mean.shape[2]), window[1])
    together = float(within.mean())
    return Signal(
        mean=mean,
        var=average(signal.var) * max(together, 0.0),
        corr=corr,
        kappa=signal.kappa,
        noise=signal.noise,
        spread=signal.spread,
    )


def average_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """Returns the input gradient: an equal share for each position of a window."""
    like = signals[0].mean
    found = _averaging(op, signals[0])
    assert found is not None
    average, within = found
    mean = transposed(average, like, grad.mean)
    var = transposed(average, like, grad.var) / len(within)
    return [replace(grad, mean=mean, var=var, along=torch.zeros_like(mean), gate=None)]


def maximum_forward(op: Operation, signals: Signals) -> Signal | None:
    """Returns φ of the maximum of a window of equally correlated normal variables.

    None where windows overlap by half or more, as at stride 1: one input is then the maximum of
    many windows at once, whose gradients add up, and the theory begins anew behind it.
    """
    (signal,) = signals
    window = _window(op, signal)
    if window is None or any(k >= 2 * s for k, s in zip(*window, strict=True)):
        return None
    moments = _maximum(signal, window[0])
    shape = op.shape[1:]
    corr = at_stride(signal.corr, (shape[1], shape[2]), window[1])
    return Signal(
        mean=moments[0].expand(shape),
        var=moments[1].expand(shape),
        corr=corr,
        kappa=signal.kappa,
        noise=signal.noise,
        spread=signal.spread,
    )


def _maximum(signal: Signal, kernel: tuple[int, int]) -> tuple[Tensor, Tensor, Gate]:
    """Returns mean and variance (C, 1, 1) of the maximum, and the activation's slopes there."""
    count = kernel[0] * kernel[1]
    latent = signal.latent
    under = channel_averages(signal) if latent is None else latent.signal
    within = window_correlations(under.corr, kernel)
    apart = float((within.sum() - count) / max(count * (count - 1), 1))
    function = (lambda x: x) if latent is None else latent.function
    moments = maximum_moments(
        function,  # type: ignore[arg-type]
        under.mean,
        under.var,
        count=count,
        correlation=apart,
    )
    scale = under.mean.new_ones(()) if latent is None else latent.scale
    gate = Gate(first=moments.slope, second=moments.slope_square, along=moments.along)
    return moments.mean * scale, moments.var * scale**2, gate


def maximum_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """Returns the input gradient: all of it at one position of a window, that of the maximum."""
    (signal,) = signals
    window = _window(op, signal)
    assert window is not None
    kernel, stride = window
    padding = op.argument(3, "padding", 0) if op.name == "max_pool2d" else 0

    def average(maps: Tensor) -> Tensor:
        full = F.avg_pool2d(maps[None], kernel, stride, padding)[0]
        return full[:, : op.shape[2], : op.shape[3]]

    def share(values: Tensor) -> Tensor:
        small = average(torch.zeros_like(signal.mean))
        part = values[:, : small.shape[1], : small.shape[2]]
        return transposed(average, signal.mean, part)

    mean = share(grad.mean)
    second = share(grad.mean**2 + grad.var)
    gate = None if signal.latent is None else _maximum(signal, kernel)[2]
    return [
        replace(
            grad,
            mean=mean,
            var=(second - mean**2).clamp_min(0.0),
            along=torch.zeros_like(mean),
            gate=gate,
        )
    ]


POOLINGS: Mapping[str, Propagation] = {
    **dict.fromkeys(
        ("mean", "avg_pool2d", "adaptive_avg_pool2d"),
        Propagation(average_forward, average_backward),
    ),
    **dict.fromkeys(
        ("max_pool2d", "adaptive_max_pool2d"), Propagation(maximum_forward, maximum_backward)
    ),
}
