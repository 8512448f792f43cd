"""Propagation through convolutions and linear layers.

The variance of wᵀx is taken with the weights that the layer has: Σ w² Var x, and for an image
the covariance of neighbouring pixels within each channel (`corr`). The covariance between channels
is random: it leaves a relative variance of 2κS for one channel (`noise`), where S is the mean
squared correlation within the window. For the whole layer (`spread`) the variance of the
logarithm is that of a rectified layer of finite width (Hanin, Nica 2018).

Sources: He et al. 2015 and Glorot, Bengio 2010 for the variances.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input

from ravine.propagation.operations import Operation, Propagation, Signals, Source, pair
from ravine.propagation.signals import (
    Gradient,
    LinearMap,
    Signal,
    at_stride,
    transposed,
    window_correlations,
)

PER_UNIT = 5.0  # variance of the log of a layer's gain, times its width (Hanin, Nica 2018)


def _weight(op: Operation) -> Tensor:
    weight: Tensor = op.argument(1, "weight")
    return weight.detach().double()


def _apply(op: Operation, weight: Tensor, maps: Tensor, bias: Tensor | None = None) -> Tensor:
    if op.name == "linear":
        return F.linear(maps, weight, bias)
    names = ("stride", "padding", "dilation", "groups")
    rest = [op.argument(3 + n, name, 0 if n == 1 else 1) for n, name in enumerate(names)]
    return op.function(maps[None], weight, bias, *rest)[0]


def _transposed_convolution(op: Operation, weight: Tensor, maps: Tensor) -> Tensor:
    names = ("stride", "padding", "output_padding", "groups", "dilation")
    rest = [op.argument(3 + n, name, 0 if n in (1, 2) else 1) for n, name in enumerate(names)]
    return op.function(maps[None], weight, None, *rest)[0]


def _maps(op: Operation, weight: Tensor) -> LinearMap:
    if op.name.startswith("conv_transpose"):
        return lambda maps: _transposed_convolution(op, weight, maps)
    return lambda maps: _apply(op, weight, maps)


def weights_forward(op: Operation, signals: Signals) -> Signal | None:
    """Returns the signal of a convolution (O, H, W), or of a linear layer (…, O)."""
    if isinstance(op.argument(1, "weight"), Source) or len(signals) != 1:
        return None
    (signal,) = signals
    weight, bias = _weight(op), op.argument(2, "bias")
    mean = _maps(op, weight)(signal.mean)
    if bias is not None:
        shift = bias.detach().double()
        mean = mean + (shift if op.name == "linear" else _by_channel(shift, mean))
    var = _maps(op, weight**2)(signal.var)
    image = op.name == "conv2d" and signal.corr is not None
    within = _within(op, signal) if image else torch.eye(1, dtype=torch.float64)
    if image:
        var = var * _by_channel(_neighbour_factor(op, signal, weight, within), var)
    inputs = weight.shape[1] if weight.dim() > 1 else 1
    # S, the mean squared correlation of two positions of the window.
    s = float(within.square().mean()) if image else 1 / _window_size(op, weight)
    own = s / inputs
    across = s * signal.kappa * (1 - 1 / inputs)
    noise = 2 * across + signal.noise / inputs
    groups = int(op.argument(6, "groups", 1)) if op.name.startswith("conv") else 1
    outputs = mean.shape[-1] if op.name == "linear" else mean.shape[0]
    return Signal(
        mean=mean,
        var=var.clamp_min(0.0),
        corr=_mixed_corr(op, signal, weight, mean) if image else None,
        kappa=min(1.0, own / groups + across),
        noise=noise,
        spread=signal.spread + PER_UNIT / outputs,
        third=None if signal.third is None else _maps(op, weight**3)(signal.third),
    )


def _window_size(op: Operation, weight: Tensor) -> int:
    return 1 if op.name == "linear" else int(weight[0, 0].numel())


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def _within(op: Operation, signal: Signal) -> Tensor:
    kernel = _weight(op).shape[2:]
    dilation = pair(op.argument(5, "dilation", 1))[0]
    return window_correlations(signal.corr, (kernel[0], kernel[1]), dilation).to(signal.mean)


def _input_variances(op: Operation, signal: Signal, weight: Tensor) -> Tensor:
    """Returns (O, C/groups): the variance of the input channel that each weight reads."""
    groups = int(op.argument(6, "groups", 1))
    by_group = signal.var.mean((1, 2)).reshape(groups, -1)
    return by_group.repeat_interleave(weight.shape[0] // groups, dim=0)


def _neighbour_factor(op: Operation, signal: Signal, weight: Tensor, within: Tensor) -> Tensor:
    """Returns (O): variance with the covariance of neighbours over variance without it."""
    flat = weight.flatten(2)
    shares = _input_variances(op, signal, weight)
    together = ((flat @ within) * flat).sum(2)
    alone = (flat * flat).sum(2)
    return (shares * together).sum(1) / (shares * alone).sum(1).clamp_min(1e-300)


def _mixed_corr(op: Operation, signal: Signal, weight: Tensor, out: Tensor) -> Tensor | None:
    """Returns the output's correlation by displacement: ρ(sd) mixed by the kernel's products."""
    assert signal.corr is not None
    kernel, flat = weight.shape[2:], weight.flatten(2)
    shares = _input_variances(op, signal, weight)
    products = torch.einsum("oc,ock,ocl->kl", shares, flat, flat)
    size = (2 * kernel[0] - 1, 2 * kernel[1] - 1)
    at = torch.cartesian_prod(torch.arange(kernel[0]), torch.arange(kernel[1])).reshape(-1, 2)
    apart = at[:, None] - at[None, :] + torch.tensor([kernel[0] - 1, kernel[1] - 1])
    mixture = torch.zeros(size, dtype=torch.float64, device=weight.device)
    mixture.index_put_((apart[..., 0], apart[..., 1]), products, accumulate=True)
    dilation = pair(op.argument(5, "dilation", 1))
    edge = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    mixed = F.conv2d(signal.corr[None, None], mixture[None, None], padding=edge, dilation=dilation)
    corr = at_stride(mixed[0, 0], (out.shape[1], out.shape[2]), pair(op.argument(3, "stride", 1)))
    assert corr is not None
    middle = float(corr[out.shape[1] - 1, out.shape[2] - 1])
    return (corr / middle).clamp(-1, 1) if middle > 0 else None


def _transposed_maps(op: Operation, weight: Tensor, like: Tensor, values: Tensor) -> Tensor:
    """Returns the transpose (D) of the layer's linear map of (D) to (E), applied to values (E)."""
    padding = op.argument(4, "padding", 0)
    if op.name != "conv2d" or isinstance(padding, str):
        return transposed(_maps(op, weight), like, values)
    stride, dilation, groups = (
        op.argument(at, name, 1) for at, name in ((3, "stride"), (5, "dilation"), (6, "groups"))
    )
    return conv2d_input(
        (1, *like.shape), weight, values[None], stride, padding, dilation, groups
    )[0]  # fmt: skip


def weights_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """Returns the input gradient: the transpose, with the squared weights for the variance."""
    weight, like = _weight(op), signals[0].mean
    mean = _transposed_maps(op, weight, like, grad.mean)
    var = _transposed_maps(op, weight**2, like, grad.var)
    linear = op.name == "linear"
    outputs = weight.shape[0]
    channels = like.shape[-1] if linear else like.shape[0]
    kappa = min(1.0, 1 / outputs + grad.kappa * (1 - 1 / outputs))
    spread = grad.spread + PER_UNIT / channels
    zero = torch.zeros_like(mean)
    return [Gradient(mean=mean, var=var.clamp_min(0.0), along=zero, kappa=kappa, spread=spread)]


WEIGHTS = Propagation(weights_forward, weights_backward)
WEIGHTED_LAYERS: Mapping[str, Propagation] = dict.fromkeys(
    (
        *("linear", "conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    ),
    WEIGHTS,
)
