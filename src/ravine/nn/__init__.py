"""Layers and initial weights."""

from ravine.nn.activation import ACTIVATIONS, make_activation
from ravine.nn.dropout import Dropout, convert_dropout
from ravine.nn.init import SCHEMES, init_
from ravine.nn.norm import NORMS, make_norm
from ravine.nn.norm_act import NormAct
from ravine.nn.use_kernels import use_kernels_

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "SCHEMES",
    "Dropout",
    "NormAct",
    "convert_dropout",
    "init_",
    "make_activation",
    "make_norm",
    "use_kernels_",
]
