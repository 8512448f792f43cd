"""Written by `make kernels` from the update rules of ravine/optim, not by hand."""

from collections.abc import Mapping

# The order of a row of hyperparameters.
HYPER = ("lr", "coupled", "decoupled", "gamma", "alpha", "eps", "scale")

# The rules, in the order of the C library"s table, and the tensors of their state.
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "momentum": ("v",),
    "nesterov": ("v",),
    "adagrad_eps_in_root": ("G",),
    "rmsprop_eps_in_root": ("G",),
    "adam_eps_in_root": ("v", "G"),
    "nadam_lecture_eps_in_root": ("v", "G"),
    "nadam_dozat_constant_eps_in_root": ("v", "G"),
    "nadam_dozat_eps_in_root": ("v", "G"),
    "nadam_keras_eps_in_root": ("v", "G"),
    "adagrad": ("G",),
    "rmsprop": ("G",),
    "adam": ("v", "G"),
    "nadam_lecture": ("v", "G"),
    "nadam_dozat_constant": ("v", "G"),
    "nadam_dozat": ("v", "G"),
    "nadam_keras": ("v", "G"),
}

# Those whose state has the product of the momenta so far, mu_product.
KEEPS_MOMENTUM_PRODUCT = frozenset({
    "nadam_lecture_eps_in_root",
    "nadam_dozat_constant_eps_in_root",
    "nadam_dozat_eps_in_root",
    "nadam_keras_eps_in_root",
    "nadam_lecture",
    "nadam_dozat_constant",
    "nadam_dozat",
    "nadam_keras",
})
