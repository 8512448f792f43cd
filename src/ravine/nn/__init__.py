"""Layers and initial weights."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names

if TYPE_CHECKING:
    from ravine.nn.activation import ACTIVATIONS, make_activation
    from ravine.nn.dropout import Dropout, convert_dropout
    from ravine.nn.init import init_
    from ravine.nn.layer_names import SCHEMES
    from ravine.nn.norm import NORMS, make_norm
    from ravine.nn.norm_act import NormAct
    from ravine.nn.use_kernels import use_kernels_
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "ACTIVATIONS": "ravine.nn.activation",
            "NORMS": "ravine.nn.norm",
            "SCHEMES": "ravine.nn.layer_names",
            "Dropout": "ravine.nn.dropout",
            "NormAct": "ravine.nn.norm_act",
            "convert_dropout": "ravine.nn.dropout",
            "init_": "ravine.nn.init",
            "make_activation": "ravine.nn.activation",
            "make_norm": "ravine.nn.norm",
            "use_kernels_": "ravine.nn.use_kernels",
        },
    )

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
