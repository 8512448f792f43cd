"""Propagation through sums, products with constants, and concatenation."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ravine.propagation.operations import Operation, Propagation, Signals, Source
from ravine.propagation.signals import Gradient, Signal, joined_spread


def _terms(op: Operation) -> tuple[Any, Any, float]:
    first, second = op.args[0], op.argument(1, "other")
    sign = -1.0 if op.name in ("sub", "isub") else 1.0
    return first, second, sign * float(op.kwargs.get("alpha", 1.0))


def add_forward(op: Operation, signals: Signals) -> Signal | None:
    """Returns a sum of two signals as if uncorrelated, or of a signal and a constant."""
    first, second, factor = _terms(op)
    if op.name == "rsub":
        return None
    if len(signals) == 2:
        return _sum(op, signals, factor)
    if isinstance(first, Source):
        return _plus_constant(op, signals[0], second, factor)
    return _plus_constant(op, signals[0], first, 1.0) if factor == 1.0 else None


def _sum(op: Operation, signals: Signals, factor: float) -> Signal | None:
    """Returns a + factor·b."""
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
        spread=joined_spread(share, a.spread, b.spread),
        third=(_third(a) + factor**3 * _third(b)).expand(shape),
    )


def _third(signal: Signal) -> Tensor:
    return torch.zeros_like(signal.mean) if signal.third is None else signal.third


def _plus_constant(op: Operation, signal: Signal, constant: Any, sign: float) -> Signal | None:
    constant = _without_batch(op, constant)
    mean = None if constant is None else signal.mean + sign * constant
    if mean is None or mean.shape != op.shape[1:]:
        return None
    return replace(signal, mean=mean, latent=None)


def _without_batch(op: Operation, constant: Any) -> Any:
    """Returns a constant for one example, None where it is none or differs between examples."""
    if isinstance(constant, Source):  # x + x, x · x
        return None
    if not isinstance(constant, Tensor):
        return constant
    constant = constant.detach().double()
    if constant.dim() < len(op.shape):
        return constant
    return constant[0] if constant.shape[0] == 1 else None


def _reduced(values: Tensor, like: Tensor) -> Tensor:
    return values.sum_to_size(like.shape) if values.shape != like.shape else values


def add_backward(op: Operation, signals: Signals, _out: Signal, grad: Gradient) -> list[Gradient]:
    """Returns the gradient of each summand: that of the sum."""
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
    constant = _without_batch(op, second if isinstance(first, Source) else first)
    if constant is not None and op.name in ("div", "truediv", "itruediv"):
        return 1 / constant if isinstance(first, Source) else None
    return constant


def scale_forward(op: Operation, signals: Signals) -> Signal | None:
    """Returns the signal times a constant."""
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
    """Returns the gradient times the same constant."""
    factor = _constant_factor(op)
    return [replace(grad, mean=grad.mean * factor, var=grad.var * factor**2, gate=None)]


def concat_forward(op: Operation, signals: Signals) -> Signal | None:
    """Returns signals concatenated along an axis."""
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
    """Returns the slice of the gradient that belongs to each signal."""
    axis = int(op.argument(1, "dim", 0)) % len(op.shape) - 1
    sizes = [signal.mean.shape[axis] for signal in signals]
    parts = zip(*(m.split(sizes, axis) for m in (grad.mean, grad.var, grad.along)), strict=True)
    return [replace(grad, mean=m, var=v, along=a, gate=None) for m, v, a in parts]


ARITHMETIC: Mapping[str, Propagation] = {
    **dict.fromkeys(("add", "iadd", "radd", "sub", "isub"), Propagation(add_forward, add_backward)),
    **dict.fromkeys(
        ("mul", "imul", "rmul", "div", "truediv", "itruediv", "neg"),
        Propagation(scale_forward, scale_backward),
    ),
    **dict.fromkeys(("cat", "concat", "concatenate"), Propagation(concat_forward, concat_backward)),
}
