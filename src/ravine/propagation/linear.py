"""Rules of what is linear: convolutions, linear layers, shapes, sums, means, constants.

The variance of wᵀx is taken with the weights that the layer has: Σ w² Var x, and for an image
the covariance of neighbouring pixels within each channel (`corr`). What is left to chance is
the covariance between channels: a relative variance of 2κS for one channel (`noise`), where S
is the mean squared correlation within the window. For the whole layer (`spread`) the variance of
the logarithm is that of a rectified layer of finite width (Hanin, Nica 2018).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.propagation.layers import Rule, Signals
from ravine.propagation.operations import Operation, Source
from ravine.propagation.signals import Gradient, Signal, at_stride, together, window_correlations

Map = Callable[[Tensor], Tensor]
PER_UNIT = 5.0  # variance of the log of a layer's gain, times its width (Hanin, Nica 2018)


def back_through(function: Map, like: Tensor, values: Tensor) -> Tensor:
    """Returns the transpose of a linear function of `like`, applied to `values`."""
    with torch.enable_grad():
        leaf = torch.zeros_like(like).requires_grad_()
        (found,) = torch.autograd.grad(function(leaf), leaf, values)
    return found


def _weight(op: Operation) -> Tensor:
    weight: Tensor = op.argument(1, "weight")
    return weight.detach().double()


def _apply(op: Operation, weight: Tensor, maps: Tensor, bias: Tensor | None = None) -> Tensor:
    if op.name == "linear":
        return F.linear(maps, weight, bias)
    names = ("stride", "padding", "dilation", "groups")
    rest = [op.argument(3 + n, name, 0 if n == 1 else 1) for n, name in enumerate(names)]
    return op.function(maps[None], weight, bias, *rest)[0]


def _transposed(op: Operation, weight: Tensor, maps: Tensor) -> Tensor:
    names = ("stride", "padding", "output_padding", "groups", "dilation")
    rest = [op.argument(3 + n, name, 0 if n in (1, 2) else 1) for n, name in enumerate(names)]
    return op.function(maps[None], weight, None, *rest)[0]


def _maps(op: Operation, weight: Tensor) -> Map:
    if op.name.startswith("conv_transpose"):
        return lambda maps: _transposed(op, weight, maps)
    return lambda maps: _apply(op, weight, maps)


def weights_forward(op: Operation, signals: Signals) -> Signal | None:
    """A convolution, or a linear layer, of the last dimension."""
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
    # S, the mean squared correlation of two places of the window.
    s = float(within.square().mean()) if image else 1 / _places(op, weight)
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


def _places(op: Operation, weight: Tensor) -> int:
    return 1 if op.name == "linear" else int(weight[0, 0].numel())


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _within(op: Operation, signal: Signal) -> Tensor:
    kernel = _weight(op).shape[2:]
    dilation = _pair(op.argument(5, "dilation", 1))[0]
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
    """Returns the correlation by displacement behind the kernel: ρ(sd) mixed by its products."""
    assert signal.corr is not None
    kernel, flat = weight.shape[2:], weight.flatten(2)
    shares = _input_variances(op, signal, weight)
    products = torch.einsum("oc,ock,ocl->kl", shares, flat, flat)
    size = (2 * kernel[0] - 1, 2 * kernel[1] - 1)
    at = torch.cartesian_prod(torch.arange(kernel[0]), torch.arange(kernel[1])).reshape(-1, 2)
    apart = at[:, None] - at[None, :] + torch.tensor([kernel[0] - 1, kernel[1] - 1])
    mixture = torch.zeros(size, dtype=torch.float64, device=weight.device)
    mixture.index_put_((apart[..., 0], apart[..., 1]), products, accumulate=True)
    dilation = _pair(op.argument(5, "dilation", 1))
    edge = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    mixed = F.conv2d(signal.corr[None, None], mixture[None, None], padding=edge, dilation=dilation)
    corr = at_stride(mixed[0, 0], (out.shape[1], out.shape[2]), _pair(op.argument(3, "stride", 1)))
    assert corr is not None
    middle = float(corr[out.shape[1] - 1, out.shape[2] - 1])
    return (corr / middle).clamp(-1, 1) if middle > 0 else None


def weights_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """The transpose, with the squared weights for the variance."""
    weight, like = _weight(op), signals[0].mean
    mean = back_through(_maps(op, weight), like, grad.mean)
    var = back_through(_maps(op, weight**2), like, grad.var)
    linear = op.name == "linear"
    outputs = weight.shape[0]
    channels = like.shape[-1] if linear else like.shape[0]
    kappa = min(1.0, 1 / outputs + grad.kappa * (1 - 1 / outputs))
    spread = grad.spread + PER_UNIT / channels
    zero = torch.zeros_like(mean)
    return [Gradient(mean=mean, var=var.clamp_min(0.0), along=zero, kappa=kappa, spread=spread)]


def _as_shape(op: Operation) -> Map:
    """Returns the operation on one image without its batch: a change of shape, or padding."""

    def change(maps: Tensor) -> Tensor:
        def swap(argument: Any) -> Any:
            return maps[None] if isinstance(argument, Source) else argument

        args = [swap(argument) for argument in op.args]
        if op.name in ("view", "reshape"):
            args = [args[0], 1, *op.shape[1:]]
        return op.function(*args, **{k: swap(v) for k, v in op.kwargs.items()})[0]

    return change


def shape_forward(op: Operation, signals: Signals) -> Signal | None:
    """Moves elements, or adds zeros; the batch stays in front."""
    if len(signals) != 1 or (op.name == "pad" and op.argument(3, "value") not in (None, 0, 0.0)):
        return None
    if op.name == "pad" and op.argument(2, "mode", "constant") != "constant":
        return None
    (signal,) = signals
    try:
        mean, var = _as_shape(op)(signal.mean), _as_shape(op)(signal.var)
        third = None if signal.third is None else _as_shape(op)(signal.third)
    except (RuntimeError, IndexError, TypeError):
        return None
    if mean.shape != op.shape[1:]:
        return None
    image = signal.corr is not None and mean.dim() == 3
    corr, kappa = None, signal.kappa
    if image:
        before, after = signal.mean.shape[1:], mean.shape[1:]
        strides = [max(1, round(b / a)) for b, a in zip(before, after, strict=True)]
        corr = at_stride(signal.corr, (after[0], after[1]), (strides[0], strides[1]))
    elif signal.corr is not None:
        channels = signal.mean.shape[0]
        apart = float(signal.corr.square().mean())
        kappa = (1 / channels + kappa * (1 - 1 / channels)) * apart
    latent = signal.latent if op.name in ("flatten", "view", "reshape") and image else None
    return replace(signal, mean=mean, var=var, corr=corr, kappa=kappa, latent=latent, third=third)


def shape_backward(op: Operation, signals: Signals, _out: Signal, grad: Gradient) -> list[Gradient]:
    """Moves them back."""
    like, change = signals[0].mean, _as_shape(op)
    mean, var, along = (
        back_through(change, like, values) for values in (grad.mean, grad.var, grad.along)
    )
    return [replace(grad, mean=mean, var=var, along=along, gate=None)]


def _terms(op: Operation) -> tuple[Any, Any, float]:
    first, second = op.args[0], op.argument(1, "other")
    sign = -1.0 if op.name in ("sub", "isub") else 1.0
    return first, second, sign * float(op.kwargs.get("alpha", 1.0))


def add_forward(op: Operation, signals: Signals) -> Signal | None:
    """A sum of two signals as if they were uncorrelated, or of a signal and a constant."""
    first, second, factor = _terms(op)
    if op.name == "rsub":
        return None
    if len(signals) == 1:
        constant = second if isinstance(first, Source) else first
        sign = factor if isinstance(first, Source) else 1.0
        if not isinstance(first, Source) and factor != 1.0:
            return None
        return _plus_constant(op, signals[0], constant, sign)
    a, b = signals
    shape = op.shape[1:]
    if op.sources[0] == op.sources[1] or a.mean.dim() != b.mean.dim():
        return None
    left, right = float(a.var.mean()), factor**2 * float(b.var.mean())
    share = left / (left + right) if left + right > 0 else 0.5
    corr = None
    if a.corr is not None and b.corr is not None and a.corr.shape == b.corr.shape:
        corr = share * a.corr + (1 - share) * b.corr
    return Signal(
        mean=(a.mean + factor * b.mean).expand(shape),
        var=(a.var + factor**2 * b.var).expand(shape),
        corr=corr,
        kappa=share**2 * a.kappa + (1 - share) ** 2 * b.kappa,
        noise=share**2 * a.noise + (1 - share) ** 2 * b.noise,
        spread=together(share, a.spread, b.spread),
        third=(_third(a) + factor**3 * _third(b)).expand(shape),
    )


def _third(signal: Signal) -> Tensor:
    return torch.zeros_like(signal.mean) if signal.third is None else signal.third


def _plus_constant(op: Operation, signal: Signal, constant: Any, sign: float) -> Signal | None:
    if isinstance(constant, Tensor):
        constant = constant.detach().double()
        if constant.dim() == len(op.shape):
            if constant.shape[0] != 1:
                return None
            constant = constant[0]
    mean = signal.mean + sign * constant
    if mean.shape != op.shape[1:]:
        return None
    return replace(signal, mean=mean, latent=None)


def _reduced(values: Tensor, like: Tensor) -> Tensor:
    return values.sum_to_size(like.shape) if values.shape != like.shape else values


def add_backward(op: Operation, signals: Signals, _out: Signal, grad: Gradient) -> list[Gradient]:
    """The same gradient to both."""
    _, _, factor = _terms(op)
    grad = replace(grad, gate=None)
    if len(signals) == 1:
        return [replace(grad, along=torch.zeros_like(grad.along))]
    found = []
    for signal, by in zip(signals, (1.0, factor), strict=True):
        found.append(
            replace(
                grad,
                mean=by * _reduced(grad.mean, signal.mean),
                var=by**2 * _reduced(grad.var, signal.mean),
                along=torch.zeros_like(signal.mean),
            )
        )
    return found


def _constant_factor(op: Operation) -> Any:
    first, second = op.args[0], op.argument(1, "other")
    if op.name == "neg":
        return -1.0
    constant = second if isinstance(first, Source) else first
    if isinstance(constant, Tensor):
        constant = constant.detach().double()
        if constant.dim() == len(op.shape):
            if constant.shape[0] != 1:
                return None
            constant = constant[0]
    if op.name in ("div", "truediv", "itruediv"):
        return 1 / constant if isinstance(first, Source) else None
    return constant


def scale_forward(op: Operation, signals: Signals) -> Signal | None:
    """Times a constant."""
    factor = _constant_factor(op) if len(signals) == 1 else None
    if factor is None:
        return None
    (signal,) = signals
    mean, var = signal.mean * factor, signal.var * factor**2
    if mean.shape != op.shape[1:]:
        return None
    third = None if signal.third is None else signal.third * factor**3
    return replace(signal, mean=mean, var=var, latent=None, third=third)


def scale_backward(op: Operation, _s: Signals, _out: Signal, grad: Gradient) -> list[Gradient]:
    """Times the same constant."""
    factor = _constant_factor(op)
    return [replace(grad, mean=grad.mean * factor, var=grad.var * factor**2, gate=None)]


def concat_forward(op: Operation, signals: Signals) -> Signal | None:
    """Signals side by side."""
    axis = int(op.argument(1, "dim", 0))
    axis = axis % len(op.shape) - 1
    if axis < 0 or len(signals) != len(op.args[0]):
        return None
    sizes = [float(s.var.sum()) for s in signals]
    shares = [size / sum(sizes) if sum(sizes) > 0 else 1 / len(sizes) for size in sizes]
    pairs = list(zip(shares, signals, strict=True))
    corrs = [share * s.corr for share, s in pairs if s.corr is not None]
    same = axis == 0 and len(corrs) == len(signals)
    return Signal(
        mean=torch.cat([s.mean for s in signals], axis),
        var=torch.cat([s.var for s in signals], axis),
        corr=torch.stack(corrs).sum(0) if same else None,
        kappa=sum(w**2 * s.kappa for w, s in pairs),
        noise=sum(w * s.noise for w, s in pairs),
        spread=sum(w**2 * s.spread for w, s in pairs),
    )


def concat_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """To each its part."""
    axis = int(op.argument(1, "dim", 0)) % len(op.shape) - 1
    sizes = [signal.mean.shape[axis] for signal in signals]
    parts = zip(*(m.split(sizes, axis) for m in (grad.mean, grad.var, grad.along)), strict=True)
    return [replace(grad, mean=m, var=v, along=a, gate=None) for m, v, a in parts]


WEIGHTS = Rule(weights_forward, weights_backward)
SHAPE = Rule(shape_forward, shape_backward)
_SHAPES = (
    *("flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "getitem"),
    *("pad", "unflatten", "movedim", "narrow", "channel_shuffle", "pixel_shuffle"),
)
LINEAR: Mapping[str, Rule] = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), WEIGHTS),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), WEIGHTS),
    **dict.fromkeys(
        _SHAPES,
        SHAPE,
    ),
    **dict.fromkeys(("add", "iadd", "radd", "sub", "isub"), Rule(add_forward, add_backward)),
    **dict.fromkeys(
        ("mul", "imul", "rmul", "div", "truediv", "itruediv", "neg"),
        Rule(scale_forward, scale_backward),
    ),
    **dict.fromkeys(("cat", "concat", "concatenate"), Rule(concat_forward, concat_backward)),
}
