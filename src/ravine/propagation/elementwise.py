"""Propagation through activation functions and dropout, element by element.

Source: Schoenholz et al. 2017 for gradients that are taken as independent of the activations.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch

from ravine.propagation.gaussian_moments import (
    Function,
    Moments,
    function_moments,
    hermite_shares,
    pass_correlation,
    pass_kappa,
    rectifier_moments,
)
from ravine.propagation.operations import Operation, Propagation, Signals
from ravine.propagation.signals import Gradient, Latent, Signal, channel_averages


def _activation_moments(op: Operation, signal: Signal) -> Moments:
    if op.name == "relu":
        return rectifier_moments(signal.mean, signal.var, third=signal.third)
    if op.name == "leaky_relu":
        slope = float(op.argument(1, "negative_slope", 0.01))
        return rectifier_moments(signal.mean, signal.var, slope, third=signal.third)
    return function_moments(op.on_values, signal.mean, signal.var, third=signal.third)


def activation_forward(op: Operation, signals: Signals) -> Signal:
    """Returns the signal of φ(x), x (D) normal but for its skewness."""
    (signal,) = signals
    moments = _activation_moments(op, signal)
    average = channel_averages(signal)
    function: Function = op.on_values
    shares = hermite_shares(function, average.mean, average.var)
    one = torch.ones((), dtype=torch.float64, device=signal.mean.device)
    return Signal(
        mean=moments.mean,
        var=moments.var,
        corr=None if signal.corr is None else pass_correlation(shares, signal.corr),
        kappa=pass_kappa(shares, signal.kappa),
        noise=signal.noise,
        spread=signal.spread,
        latent=Latent(signal=average, function=function, scale=one),
        third=moments.third,
    )


def activation_backward(
    op: Operation, signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """Returns g·φ'(x), (D), with g independent of x."""
    if grad.gate is not None:
        slope, square, along = grad.gate.first, grad.gate.second, grad.gate.along
    else:
        moments = _activation_moments(op, signals[0])
        slope, square, along = moments.slope, moments.slope_square, moments.along
    mean = grad.mean * slope
    second = (grad.mean**2 + grad.var) * square
    passed = float(slope.square().mean() / square.mean().clamp_min(1e-300))
    return [
        Gradient(
            mean=mean,
            var=(second - mean**2).clamp_min(0.0),
            along=grad.mean * along,
            kappa=grad.kappa * passed**2,
            spread=grad.spread,
        )
    ]


def same_forward(_op: Operation, signals: Signals) -> Signal:
    """Returns the signal as it is."""
    return signals[0]


def same_backward(
    _op: Operation, _signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """Returns the gradient as it is."""
    return [grad]


def dropout_forward(op: Operation, signals: Signals) -> Signal:
    """Returns the signal (D) after inverted dropout: E[x], and E[x²]/(1−p)."""
    (signal,) = signals
    p = _dropout_p(op)
    if p == 0:
        return signal
    var = (signal.var + p * signal.mean**2) / (1 - p)
    kept = float(signal.var.mean() / var.mean().clamp_min(1e-300))
    corr = signal.corr
    if corr is not None:
        middle = (corr.shape[0] // 2, corr.shape[1] // 2)
        corr = corr * kept
        corr[middle] = 1.0
    return Signal(
        mean=signal.mean,
        var=var,
        corr=corr,
        kappa=signal.kappa * kept**2,
        noise=signal.noise,
        spread=signal.spread,
    )


def dropout_backward(
    op: Operation, _signals: Signals, _out: Signal, grad: Gradient
) -> list[Gradient]:
    """Returns the gradient (D) through the same mask."""
    p = _dropout_p(op)
    var = (grad.var + p * grad.mean**2) / (1 - p)
    # E[g·m/(1−p)·x] over the mask: g·x of the output, which `along` already is.
    return [replace(grad, var=var, kappa=grad.kappa * (1 - p) ** 2)]


def _dropout_p(op: Operation) -> float:
    return float(op.argument(1, "p", 0.5)) if op.argument(2, "training", True) else 0.0


ACTIVATION = Propagation(activation_forward, activation_backward)
SAME = Propagation(same_forward, same_backward)
DROPOUT = Propagation(dropout_forward, dropout_backward)

_ACTIVATIONS = (
    *("relu", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh"),
    *("sigmoid", "softplus", "softsign", "hardtanh", "relu6", "hardswish", "hardsigmoid"),
    *("logsigmoid", "tanhshrink", "softshrink", "hardshrink", "clamp", "abs", "sin", "cos"),
)
ELEMENTWISE: Mapping[str, Propagation] = {
    **dict.fromkeys(_ACTIVATIONS, ACTIVATION),
    **dict.fromkeys(("contiguous", "clone", "to", "float", "double", "alias"), SAME),
    "dropout": DROPOUT,
}
