"""Activations by name, and the gain of initial weights that keeps the variance after each."""

import math
from collections.abc import Callable, Mapping

from torch import nn

from ravine.core.validation import check_choice
from ravine.nn.layer_names import Activation

LEAK = 0.01
_MAKERS: Mapping[str, Callable[[bool], nn.Module]] = {
    "relu": lambda inplace: nn.ReLU(inplace=inplace),
    "leaky-relu": lambda inplace: nn.LeakyReLU(LEAK, inplace=inplace),
    "elu": lambda inplace: nn.ELU(inplace=inplace),
    "gelu": lambda _: nn.GELU(),
    "silu": lambda inplace: nn.SiLU(inplace=inplace),
    "tanh": lambda _: nn.Tanh(),
    "sigmoid": lambda _: nn.Sigmoid(),
}
ACTIVATIONS = tuple(_MAKERS)
RECTIFIERS = ("relu", "leaky-relu", "elu", "gelu", "silu")


def make_activation(name: Activation, *, inplace: bool = True) -> nn.Module:
    """Returns the activation layer.

    Args:
        name: one of `ACTIVATIONS`.
        inplace: the layer may overwrite its input, which nothing else may need.

    Raises:
        SettingError: `name` is unknown.
    """
    check_choice("activation", name, ACTIVATIONS)
    return _MAKERS[name](inplace)


def he_gain(name: Activation) -> float:
    """Returns √2 for rectifiers, whose output has half the second moment; else 1.

    For the leaky rectifier √(2/(1+a²)) with slope a (He et al. 2015, equation 15).
    """
    if name == "leaky-relu":
        return math.sqrt(2 / (1 + LEAK**2))
    return math.sqrt(2) if name in RECTIFIERS else 1.0
