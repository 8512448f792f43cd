"""Propagation through batch, layer, group and local response normalisation.

Source: Yang et al. 2019 for batch normalisation in the backward pass.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.propagation.operations import Operation, Propagation, Signals
from ravine.propagation.signals import Gradient, Signal

_MOST_INVERSE = 2.0  # the correction of E[1/σ²] for noise is a series that ends near here


def _batch_norm_parts(op: Operation, signal: Signal) -> tuple[Tensor, Tensor, Tensor, Tensor, bool]:
    """Returns mean, σ, γ, β (C, 1, …), and whether the statistics are the batch's."""
    shape = (-1, *(1,) * (signal.mean.dim() - 1))
    positions = tuple(range(1, signal.mean.dim()))
    running_mean, running_var = op.argument(1, "running_mean"), op.argument(2, "running_var")
    of_batch = bool(op.argument(5, "training", False)) or running_mean is None
    if of_batch:
        mean = signal.mean.mean(positions) if positions else signal.mean
        var = signal.var.mean(positions) if positions else signal.var
        if positions:
            var = var + signal.mean.var(positions, correction=0)
    else:
        mean, var = running_mean.detach().double(), running_var.detach().double()
    σ = (var + float(op.argument(7, "eps", 1e-5))).sqrt()
    γ, β = op.argument(3, "weight"), op.argument(4, "bias")
    γ = torch.ones_like(mean) if γ is None else γ.detach().double()
    β = torch.zeros_like(mean) if β is None else β.detach().double()
    return mean.reshape(shape), σ.reshape(shape), γ.reshape(shape), β.reshape(shape), of_batch


def batch_norm_forward(op: Operation, signals: Signals) -> Signal:
    """Returns (x − μ)/σ·γ + β, (D); the batch's own μ and σ take noise and spread away."""
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
    """Returns γ/σ (g − mean g − û mean(g û)), (D), means over batch and positions of a channel."""
    (signal,) = signals
    _, σ, γ, β, of_batch = _batch_norm_parts(op, signal)
    if not of_batch:
        return [replace(grad, mean=grad.mean * γ / σ, var=grad.var * (γ / σ) ** 2, gate=None)]
    safe = torch.where(γ == 0, torch.ones_like(γ), γ)
    mean, var = (out.mean - β) / safe, out.var / safe**2
    along = (grad.along - β * grad.mean) / safe
    positions = tuple(range(1, mean.dim()))
    a = grad.mean.mean(positions, keepdim=True) if positions else grad.mean
    b = along.mean(positions, keepdim=True) if positions else along
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
    """Returns the signal (D) after layer or group norm, with moments over the batch as its own."""
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
    """Returns γ/σ times the gradient, (D); the two directions that the norm removes are left in."""
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
    """Returns the signal (C, H, W) after local response normalisation."""
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
    """Returns the gradient (C, H, W) times the factor, whose own derivative is of order α."""
    factor = _response_factor(op, signals[0])
    return [replace(grad, mean=grad.mean * factor, var=grad.var * factor**2)]


NORMALISATIONS: Mapping[str, Propagation] = {
    "batch_norm": Propagation(batch_norm_forward, batch_norm_backward),
    **dict.fromkeys(
        ("layer_norm", "group_norm"), Propagation(sample_norm_forward, sample_norm_backward)
    ),
    "local_response_norm": Propagation(response_forward, response_backward),
}
