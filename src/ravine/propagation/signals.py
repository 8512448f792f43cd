"""The moments that the theory carries from layer to layer, and their measurement on a tensor.

Forward, a `Signal`; backward, a `Gradient`. Both hold the mean and the variance of each
element over the batch, which covers borders, strides and the weights' own values. Between
elements they hold only what decides variances: one correlation by distance in the image, shared
by all channels, and the mean squared correlation κ between channels.

Shape letters in this room: N batch, C channels, H height, W width, D any dimensions after N.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """The normal variable behind a rectified signal: signal = scale · φ(latent).

    Attributes:
        signal: the latent variable's own signal.
        function: φ, applied to values (n, D).
        scale: broadcasts to D.
    """

    signal: "Signal"
    function: "object"
    scale: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Activations of one layer over a batch.

    Attributes:
        mean: (D), of each element, float64.
        var: (D), of each element, float64.
        corr: (2H−1, 2W−1), by displacement with 0 in the middle; None where there is no image.
        kappa: κ, mean squared correlation between two channels.
        noise: variance of the relative error of one channel's variance.
        spread: variance of the logarithm of the total variance.
        latent: the variable before an activation function, for max pooling.
        third: (D), the third cumulant of each element; None for none, as if it were normal.
    """

    mean: Tensor
    var: Tensor
    corr: Tensor | None
    kappa: float
    noise: float = 0.0
    spread: float = 0.0
    latent: Latent | None = None
    third: Tensor | None = None

    @property
    def total(self) -> float:
        """Variance over batch and elements together."""
        return total_variance(self.mean, self.var)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Moments of an activation's derivative at the maximum of a pooling window.

    Attributes:
        first: E[φ'], broadcasts to D.
        second: E[φ'²].
        along: E[x φ'].
    """

    first: Tensor
    second: Tensor
    along: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """Derivatives of the loss by the activations of one layer over a batch.

    Attributes:
        mean: (D), of each element, float64.
        var: (D), of each element, float64.
        along: (D), E[g·x] of each element, which a normalisation takes away.
        kappa: κ, mean squared correlation between two channels.
        spread: variance of the logarithm of the total variance.
        gate: of the activation before a max pooling.
    """

    mean: Tensor
    var: Tensor
    along: Tensor
    kappa: float
    spread: float = 0.0
    gate: Gate | None = None

    @property
    def total(self) -> float:
        """Variance over batch and elements together."""
        return total_variance(self.mean, self.var)


def channel_averages(signal: Signal) -> Signal:
    """Returns the signal (C, 1, …) of (C, …): the position is one more random variable."""
    positions = tuple(range(1, signal.mean.dim()))
    if not positions:
        return signal
    mean = signal.mean.mean(positions, keepdim=True)
    var = signal.var.mean(positions, keepdim=True)
    apart = signal.mean.var(positions, correction=0, keepdim=True)
    return replace(signal, mean=mean, var=var + apart, latent=None, third=None)


def total_variance(mean: Tensor, var: Tensor) -> float:
    """Returns the variance over batch and elements: mean of `var` (D), variance of `mean` (D)."""
    return float(var.mean() + mean.var(correction=0))


def plus(first: Gradient | None, second: Gradient) -> Gradient:
    """Returns the gradient of a tensor that two layers read: the sum, as if independent."""
    if first is None:
        return second
    a, b = float(first.var.mean()), float(second.var.mean())
    share = a / (a + b) if a + b > 0 else 0.5
    return Gradient(
        mean=first.mean + second.mean,
        var=first.var + second.var,
        along=first.along + second.along,
        kappa=share**2 * first.kappa + (1 - share) ** 2 * second.kappa,
        spread=joined_spread(share, first.spread, second.spread),
    )


def joined_spread(share: float, first: float, second: float) -> float:
    """Returns the spread of a sum in which `share` of the variance is the first's.

    The two come from mostly the same layers, so that their deviations add up.
    """
    return (share * math.sqrt(first) + (1 - share) * math.sqrt(second)) ** 2


def element_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and variance (D) of each element of (N, D) over the batch, in float64.

    On a processor those of a batch norm over N rows of D channels: torch's own reduction over the
    first axis takes ten times as long.
    """
    rows = x.detach().float().reshape(len(x), math.prod(x.shape[1:]))
    if rows.device.type == "cpu" and rows.numel():
        mean, var = torch.batch_norm_update_stats(rows.contiguous(), None, None, 0.0)
    else:
        mean = rows.mean(0)
        var = (rows - mean).square_().sum(0) / max(1, len(rows))
    return mean.view(x.shape[1:]).double(), var.view(x.shape[1:]).double()


def measured_signal(x: Tensor) -> Signal:
    """Returns the signal of a tensor (N, D) as it is on this batch."""
    mean, var = element_moments(x)
    image = x.dim() == 4
    return Signal(
        mean=mean,
        var=var,
        corr=_correlation_by_distance(x.detach().double(), mean, var) if image else None,
        kappa=channel_correlation(x.detach()),
        third=third_cumulant(x, mean),
    )


def third_cumulant(x: Tensor, mean: Tensor) -> Tensor:
    """Returns E[(x − mean)³] (D) of each element of (N, D) over the batch, in float64."""
    return (x.detach().double() - mean).pow(3).mean(0)


def measured_gradient(g: Tensor) -> Gradient:
    """Returns the gradient of a tensor (N, D) as it is on this batch."""
    mean, var = element_moments(g)
    return Gradient(mean=mean, var=var, along=mean * 0, kappa=channel_correlation(g.detach()))


def _correlation_by_distance(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    size = (2 * height - 1, 2 * width - 1)

    def by_distance(maps: Tensor) -> Tensor:
        power = torch.fft.rfft2(maps, size).abs().square()
        return torch.fft.fftshift(torch.fft.irfft2(power.sum((0, 1)), size))

    together = sum(by_distance(part - mean) for part in x.split(8)) / len(x)
    apart = by_distance(var.sqrt()[None])
    known = apart > 1e-9 * apart.max()
    return torch.where(known, together / apart.clamp_min(1e-300), 0.0).clamp(-1, 1)


_MOST_CHANNELS, _MOST_SAMPLES = 256, 4096


def channel_correlation(x: Tensor) -> float:
    """Returns the mean squared correlation of two channels of (N, C, …) over all else."""
    if x.dim() < 2 or x.shape[1] < 2:
        return 0.0
    rows = x[:, :_MOST_CHANNELS].transpose(0, 1).flatten(1).double()
    step = max(1, rows.shape[1] // _MOST_SAMPLES)
    rows = rows[:, ::step]
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    squares = (rows @ rows.T).square()
    alive = rows.norm(dim=1) > 0.5
    count = int(alive.sum())
    if count < 2:
        return 0.0
    off = float(squares.sum() - squares.diagonal().sum()) / (count * (count - 1))
    # Independent channels correlate on a sample too: 1/(samples − 1).
    chance = 1 / max(rows.shape[1] - 1, 1)
    return min(1.0, max(0.0, (off - chance) / (1 - chance) if chance < 1 else 0.0))


def window_correlations(corr: Tensor | None, window: tuple[int, int], dilation: int = 1) -> Tensor:
    """Returns the correlations (K, K) between the K positions of a window (height, width)."""
    count = math.prod(window)
    if corr is None:
        return torch.eye(count, dtype=torch.float64)
    middle = (corr.shape[0] // 2, corr.shape[1] // 2)
    at = torch.cartesian_prod(torch.arange(window[0]), torch.arange(window[1])).reshape(-1, 2)
    apart = (at[:, None] - at[None, :]) * dilation
    down, across = apart[..., 0] + middle[0], apart[..., 1] + middle[1]
    inside = (down >= 0) & (down < corr.shape[0]) & (across >= 0) & (across < corr.shape[1])
    found = corr[down.clamp(0, corr.shape[0] - 1), across.clamp(0, corr.shape[1] - 1)]
    return torch.where(inside, found, 0.0)


def at_stride(corr: Tensor | None, size: tuple[int, int], stride: tuple[int, int]) -> Tensor | None:
    """Returns the correlations (2H−1, 2W−1) of an image of `size` (H, W) at a stride."""
    if corr is None:
        return None
    reach = [torch.arange(1 - n, n) * s for n, s in zip(size, stride, strict=True)]
    positions = [r + m // 2 for r, m in zip(reach, corr.shape, strict=True)]
    down = positions[0].clamp(0, corr.shape[0] - 1)
    across = positions[1].clamp(0, corr.shape[1] - 1)
    found = corr[down][:, across]
    inside = (positions[0] == down)[:, None] & (positions[1] == across)[None, :]
    return torch.where(inside, found, 0.0)


LinearMap = Callable[[Tensor], Tensor]


def transposed(function: LinearMap, like: Tensor, values: Tensor) -> Tensor:
    """Returns the transpose of a linear function, applied to values.

    Args:
        function: of (D) to (E).
        like: (D), of which only the shape counts.
        values: (E).
    """
    with torch.enable_grad():
        leaf = torch.zeros_like(like).requires_grad_()
        # As a sum: given values, autograd loads sympy to look at them, which takes half a second.
        (found,) = torch.autograd.grad((function(leaf) * values).sum(), leaf)
    return found
