"""Rules of poolings and normalisations."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.propagation.gaussian_moments import greatest_moments
from ravine.propagation.layers import Rule, Signals, channel_averages
from ravine.propagation.linear import Map, back_through
from ravine.propagation.operations import Operation
from ravine.propagation.signals import Gate, Gradient, Signal, at_stride, window_correlations

_MOST_INVERSE = 2.0  # the correction of E[1/σ²] for noise is a series that ends near here


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


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
    kernel = _pair(op.argument(1, "kernel_size"))
    stride = op.argument(2, "stride")
    return kernel, kernel if stride in (None, []) else _pair(stride)


def _averaging(op: Operation, signal: Signal) -> tuple[Map, Tensor] | None:
    """Returns the mean over windows or dimensions, and the correlations in a window."""
    if op.name == "mean":
        dims = op.argument(1, "dim")
        keep = bool(op.argument(2, "keepdim", False))
        if dims is None:
            return None
        axes = tuple(d % len(op_shape) - 1 for d in _dims(dims)) if (op_shape := _rank(op)) else ()
        if not axes or min(axes) < 0:
            return None
        if signal.corr is not None and set(axes) == {1, 2}:
            within = window_correlations(signal.corr, tuple(signal.mean.shape[1:]))  # type: ignore[arg-type]
        elif signal.corr is not None:
            return None
        else:
            count = 1
            for axis in axes:
                count *= signal.mean.shape[axis]
            within = torch.eye(count, dtype=torch.float64)
        return (lambda maps: maps.mean(axes, keepdim=keep)), within.to(signal.mean)
    window = _window(op, signal)
    if window is None or (op.name == "avg_pool2d" and op.argument(6, "divisor_override")):
        return None
    within = window_correlations(signal.corr, window[0]).to(signal.mean)
    if op.name == "avg_pool2d":
        padding = op.argument(3, "padding", 0)
        return (lambda maps: F.avg_pool2d(maps[None], *window, padding)[0]), within
    return (lambda maps: F.avg_pool2d(maps[None], *window)[0]), within


def _dims(dims: Any) -> tuple[int, ...]:
    return (dims,) if isinstance(dims, int) else tuple(dims)


def _rank(op: Operation) -> range:
    """Returns the dimensions of what a mean read."""
    keep = bool(op.argument(2, "keepdim", False))
    return range(len(op.shape) + (0 if keep else len(_dims(op.argument(1, "dim")))))


def average_forward(op: Operation, signals: Signals) -> Signal | None:
    """A mean over windows, with the covariance within them."""
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
    """A part of the gradient to each place of its window."""
    like = signals[0].mean
    found = _averaging(op, signals[0])
    assert found is not None
    average, within = found
    mean = back_through(average, like, grad.mean)
    var = back_through(average, like, grad.var) / len(within)
    return [replace(grad, mean=mean, var=var, along=torch.zeros_like(mean), gate=None)]


def greatest_forward(op: Operation, signals: Signals) -> Signal | None:
    """The greatest of a window of equally correlated normal variables, then what rectified it."""
    (signal,) = signals
    window = _window(op, signal)
    if window is None:
        return None
    moments = _greatest(signal, window[0])
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


def _greatest(signal: Signal, kernel: tuple[int, int]) -> tuple[Tensor, Tensor, Gate]:
    """Returns mean and variance (C, 1, 1) of the greatest, and the activation's slopes there."""
    count = kernel[0] * kernel[1]
    latent = signal.latent
    under = channel_averages(signal) if latent is None else latent.signal
    within = window_correlations(under.corr, kernel)
    apart = float((within.sum() - count) / max(count * (count - 1), 1))
    function = (lambda x: x) if latent is None else latent.function
    moments = greatest_moments(
        function,  # type: ignore[arg-type]
        under.mean,
        under.var,
        count=count,
        correlation=apart,
    )
    scale = under.mean.new_ones(()) if latent is None else latent.scale
    gate = Gate(first=moments.slope, second=moments.slope_square, along=moments.along)
    return moments.mean * scale, moments.var * scale**2, gate


def greatest_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """The gradient goes to one place of its window, whose activation was the greatest."""
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
        return back_through(average, signal.mean, part)

    mean = share(grad.mean)
    second = share(grad.mean**2 + grad.var)
    gate = None if signal.latent is None else _greatest(signal, kernel)[2]
    return [
        replace(
            grad,
            mean=mean,
            var=(second - mean**2).clamp_min(0.0),
            along=torch.zeros_like(mean),
            gate=gate,
        )
    ]


def _batch_norm_parts(op: Operation, signal: Signal) -> tuple[Tensor, Tensor, Tensor, Tensor, bool]:
    """Returns mean, σ, γ, β (C, 1, …), and whether the statistics are the batch's."""
    shape = (-1, *(1,) * (signal.mean.dim() - 1))
    places = tuple(range(1, signal.mean.dim()))
    running_mean, running_var = op.argument(1, "running_mean"), op.argument(2, "running_var")
    of_batch = bool(op.argument(5, "training", False)) or running_mean is None
    if of_batch:
        mean = signal.mean.mean(places) if places else signal.mean
        var = signal.var.mean(places) if places else signal.var
        if places:
            var = var + signal.mean.var(places, correction=0)
    else:
        mean, var = running_mean.detach().double(), running_var.detach().double()
    σ = (var + float(op.argument(7, "eps", 1e-5))).sqrt()
    γ, β = op.argument(3, "weight"), op.argument(4, "bias")
    γ = torch.ones_like(mean) if γ is None else γ.detach().double()
    β = torch.zeros_like(mean) if β is None else β.detach().double()
    return mean.reshape(shape), σ.reshape(shape), γ.reshape(shape), β.reshape(shape), of_batch


def batch_norm_forward(op: Operation, signals: Signals) -> Signal:
    """(x − μ)/σ·γ + β; with the batch's own μ and σ nothing of the past is left in doubt."""
    (signal,) = signals
    μ, σ, γ, β, of_batch = _batch_norm_parts(op, signal)
    return Signal(
        mean=(signal.mean - μ) / σ * γ + β,
        var=signal.var * (γ / σ) ** 2,
        corr=signal.corr,
        kappa=signal.kappa,
        noise=0.0 if of_batch else signal.noise,
        spread=0.0 if of_batch else signal.spread,
        third=None if signal.third is None else signal.third * (γ / σ) ** 3,
    )


def batch_norm_backward(
    op: Operation, signals: Signals, out: Signal, grad: Gradient
) -> list[Gradient]:
    """γ/σ (g − mean g − û mean(g û)), the means over batch and places of a channel."""
    (signal,) = signals
    _, σ, γ, β, of_batch = _batch_norm_parts(op, signal)
    if not of_batch:
        return [replace(grad, mean=grad.mean * γ / σ, var=grad.var * (γ / σ) ** 2, gate=None)]
    safe = torch.where(γ == 0, torch.ones_like(γ), γ)
    mean, var = (out.mean - β) / safe, out.var / safe**2
    along = (grad.along - β * grad.mean) / safe
    places = tuple(range(1, mean.dim()))
    a = grad.mean.mean(places, keepdim=True) if places else grad.mean
    b = along.mean(places, keepdim=True) if places else along
    left = grad.mean - a - mean * b
    second = grad.mean**2 + grad.var + a**2 + b**2 * (mean**2 + var)
    second = second - 2 * a * grad.mean - 2 * b * along + 2 * a * b * mean
    # E[1/σ²] lies above 1/E[σ²], by the noise of σ².
    inverse = min(1 / max(1 - signal.noise, 1e-3), _MOST_INVERSE)
    factor = (γ / σ) ** 2 * inverse
    channels = len(mean)
    return [
        Gradient(
            mean=left * γ / σ,
            var=(second - left**2).clamp_min(0.0) * factor,
            along=torch.zeros_like(mean),
            kappa=grad.kappa,
            spread=grad.spread + 2 * signal.noise / channels,
        )
    ]


def _sample_norm_parts(op: Operation, signal: Signal) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns mean, σ, γ, β of a layer or group norm, which broadcast to (groups, rest) and D."""
    mean = signal.mean
    if op.name == "layer_norm":
        sizes = op.argument(1, "normalized_shape")
        axes = tuple(range(mean.dim() - len(sizes), mean.dim()))
        at, γ, β, eps = axes, op.argument(2, "weight"), op.argument(3, "bias"), 4
        shape = mean.shape[mean.dim() - len(sizes) :]
        μ = mean.mean(at, keepdim=True)
        var = (signal.var + mean**2).mean(at, keepdim=True) - μ**2
    else:
        groups = int(op.argument(1, "num_groups"))
        by_group = mean.reshape(groups, -1)
        μ = by_group.mean(1, keepdim=True)
        second = (signal.var + mean**2).reshape(groups, -1).mean(1, keepdim=True)
        spread = [t.expand_as(by_group).reshape(mean.shape) for t in (μ, second - μ**2)]
        μ, var = spread
        γ, β, eps = op.argument(2, "weight"), op.argument(3, "bias"), 4
        shape = torch.Size((mean.shape[0], *(1,) * (mean.dim() - 1)))
    σ = (var + float(op.argument(eps, "eps", 1e-5))).sqrt()
    one, zero = mean.new_ones(()), mean.new_zeros(())
    γ = one if γ is None else γ.detach().double().reshape(shape)
    β = zero if β is None else β.detach().double().reshape(shape)
    return μ, σ, γ, β


def sample_norm_forward(op: Operation, signals: Signals) -> Signal:
    """Layer and group norm: the statistics of one sample are close to those over samples."""
    (signal,) = signals
    μ, σ, γ, β = _sample_norm_parts(op, signal)
    return Signal(
        mean=(signal.mean - μ) / σ * γ + β,
        var=signal.var * (γ / σ) ** 2,
        corr=signal.corr,
        kappa=signal.kappa,
        noise=signal.noise,
        spread=0.0,
    )


def sample_norm_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """γ/σ times the gradient; the two directions that are taken away are few of many."""
    _, σ, γ, _ = _sample_norm_parts(op, signals[0])
    scale = γ / σ
    return [
        replace(
            grad,
            mean=grad.mean * scale,
            var=grad.var * scale**2,
            along=torch.zeros_like(grad.mean),
            gate=None,
        )
    ]


def _response_factor(op: Operation, signal: Signal) -> Tensor:
    """Returns (k + α·mean x²)^−β over neighbouring channels, the expectation in the bracket."""
    size = int(op.argument(1, "size"))
    names = (("alpha", 1e-4), ("beta", 0.75), ("k", 1.0))
    α, β, k = (float(op.argument(2 + n, name, d)) for n, (name, d) in enumerate(names))
    power = (signal.mean**2 + signal.var).flatten(1).T[:, None]
    padded = F.pad(power, (size // 2, (size - 1) // 2))
    mean = F.avg_pool1d(padded, size, 1)[:, 0].T.reshape(signal.mean.shape)
    return (k + α * mean) ** -β


def response_forward(op: Operation, signals: Signals) -> Signal:
    """Local response normalisation."""
    (signal,) = signals
    factor = _response_factor(op, signal)
    latent = signal.latent
    if latent is not None:
        by_channel = factor.mean((1, 2), keepdim=True) if factor.dim() == 3 else factor
        latent = replace(latent, scale=latent.scale * by_channel)
    return replace(
        signal,
        mean=signal.mean * factor,
        var=signal.var * factor**2,
        latent=latent,
        third=None if signal.third is None else signal.third * factor**3,
    )


def response_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """The factor as if it were constant: its own derivative is of the order of α."""
    factor = _response_factor(op, signals[0])
    return [replace(grad, mean=grad.mean * factor, var=grad.var * factor**2)]


AVERAGE = Rule(average_forward, average_backward)
GREATEST = Rule(greatest_forward, greatest_backward)
SAMPLE_NORM = Rule(sample_norm_forward, sample_norm_backward)
POOLING: Mapping[str, Rule] = {
    **dict.fromkeys(("mean", "avg_pool2d", "adaptive_avg_pool2d"), AVERAGE),
    **dict.fromkeys(("max_pool2d", "adaptive_max_pool2d"), GREATEST),
    "batch_norm": Rule(batch_norm_forward, batch_norm_backward),
    **dict.fromkeys(("layer_norm", "group_norm"), SAMPLE_NORM),
    "local_response_norm": Rule(response_forward, response_backward),
}
