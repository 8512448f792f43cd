"""Activations by name, with the gain that keeps the variance behind each."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

from torch import nn

from ravine.core.checks import check_choice

Activation = Literal["relu", "leaky-relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
LEAK = 0.01
_MAKERS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky-relu": lambda: nn.LeakyReLU(LEAK, inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "gelu": nn.GELU,
    "silu": lambda: nn.SiLU(inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
ACTIVATIONS = tuple(_MAKERS)
RECTIFIERS = ("relu", "leaky-relu", "elu", "gelu", "silu")


def make_activation(name: Activation) -> nn.Module:
    """Returns the activation layer.

    Raises:
        SettingError: the name is not known.
    """
    check_choice("activation", name, ACTIVATIONS)
    return _MAKERS[name]()


def he_gain(name: Activation) -> float:
    """Returns √2 for rectifiers, whose output has half the second moment; else 1.

    For the leaky rectifier √(2/(1+a²)) with slope a (He et al. 2015, equation 15).
    """
    if name == "leaky-relu":
        return math.sqrt(2 / (1 + LEAK**2))
    return math.sqrt(2) if name in RECTIFIERS else 1.0
