"""Propagation through changes of shape and zero padding."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ravine.propagation.operations import Operation, Propagation, Signals, Source
from ravine.propagation.signals import Gradient, LinearMap, Signal, at_stride, transposed


def _as_shape(op: Operation) -> LinearMap:
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
    """Returns the signal with its elements moved, or zeros added; the batch stays in front."""
    if len(signals) != 1 or not _pads_with_zeros(op):
        return None
    (signal,) = signals
    change = _as_shape(op)
    try:
        mean, var = change(signal.mean), change(signal.var)
        third = None if signal.third is None else change(signal.third)
    except (RuntimeError, IndexError, TypeError):
        return None
    if mean.shape != op.shape[1:]:
        return None
    corr, kappa = _correlations(signal, mean)
    is_image = signal.corr is not None and mean.dim() == 3
    keeps_latent = op.name in ("flatten", "view", "reshape") and is_image
    latent = signal.latent if keeps_latent else None
    return replace(signal, mean=mean, var=var, corr=corr, kappa=kappa, latent=latent, third=third)


def _pads_with_zeros(op: Operation) -> bool:
    if op.name != "pad":
        return True
    is_constant = op.argument(2, "mode", "constant") == "constant"
    return is_constant and op.argument(3, "value") in (None, 0, 0.0)


def _correlations(signal: Signal, mean: Tensor) -> tuple[Tensor | None, float]:
    """Returns the correlations by displacement and κ behind a change of shape to that of `mean`."""
    if signal.corr is None:
        return None, signal.kappa
    if mean.dim() == 3:
        before, after = signal.mean.shape[1:], mean.shape[1:]
        strides = [max(1, round(b / a)) for b, a in zip(before, after, strict=True)]
        corr = at_stride(signal.corr, (after[0], after[1]), (strides[0], strides[1]))
        return corr, signal.kappa
    channels = signal.mean.shape[0]
    within = float(signal.corr.square().mean())
    return None, (1 / channels + signal.kappa * (1 - 1 / channels)) * within


def shape_backward(op: Operation, signals: Signals, _out: Signal, grad: Gradient) -> list[Gradient]:
    """Returns the gradient with its elements moved back, (D)."""
    like, change = signals[0].mean, _as_shape(op)
    mean, var, along = (
        transposed(change, like, values) for values in (grad.mean, grad.var, grad.along)
    )
    return [replace(grad, mean=mean, var=var, along=along, gate=None)]


SHAPE = Propagation(shape_forward, shape_backward)
_SHAPES = (
    *("flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "getitem"),
    *("pad", "unflatten", "movedim", "narrow", "channel_shuffle", "pixel_shuffle"),
)
SHAPES: Mapping[str, Propagation] = dict.fromkeys(_SHAPES, SHAPE)
