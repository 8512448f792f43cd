"""Whether a layer carries hooks: then it must run as a module of its own, and not fused."""

from torch import nn


def is_hooked(layer: nn.Module) -> bool:
    """Returns whether a forward or backward hook, or pre-hook, is registered on this layer."""
    return bool(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )
