"""How large a network may be: a name can ask for more memory than a machine has."""

import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.core.memory import available_memory


def refuse_too_large(name: str, model: nn.Module) -> None:
    """Raises `SettingError` for a network whose weights alone are more than the memory left.

    Args:
        name: of the network.
        model: built on torch's device `meta`, where it takes no memory.
    """
    available = available_memory()
    needed = sum(p.numel() * p.element_size() for p in model.parameters())
    if available is not None and needed > available:
        raise SettingError(
            f"{name} has {needed / 4:.3g} weights, which take {needed / 1e9:.3g} GB, and "
            f"{available / 1e9:.3g} GB are free; take a smaller network"
        )


def is_meta() -> bool:
    """Returns whether what is built now takes no memory."""
    return torch.empty(0).is_meta
