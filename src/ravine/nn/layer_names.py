"""The names of activations, norms, forms of dropout and initial weights; loads no torch."""

from collections.abc import Mapping
from typing import Literal

Activation = Literal["relu", "leaky-relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Norm = Literal["batch", "group", "none"]
DropoutForm = Literal["inverted", "classic"]

SCHEMES: Mapping[str, str] = {
    "auto": "he-out for rectifiers, xavier for the others, fan-in for the head",
    "xavier": "the same as xavier-uniform",
    "xavier-uniform": "U[−√6/√(n_in+n_out), √6/√(n_in+n_out)]",
    "xavier-normal": "N(0, 2/(n_in+n_out))",
    "he": "the same as he-in",
    "he-in": "N(0, 2/n_in): keeps the variance of activations",
    "he-out": "N(0, 2/n_out): keeps the variance of gradients",
    "orthogonal": "orthogonal rows, times the gain",
    "lsuv": "orthogonal, then each layer scaled on data until its output variance is 1",
    "torch": "what torch's constructors draw",
}
