"""How deep, wide and large a network may be: a name can ask for more than any machine has.

A name may come from a stranger's file, so it is judged before anything is built.
"""

import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.core.memory import available_memory

MOST = 2000  # layers, or times the width; the deepest network that was published has 1202 layers
_DIGITS = 9


def numbers_of(name: str, groups: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the numbers in a network's name.

    Raises:
        SettingError: one is so large that the network could not be built.

    >>> numbers_of("wrn-16-4", ("16", "4"))
    (16, 4)
    """
    for text in groups:
        if len(text) > _DIGITS or int(text) > MOST:
            shown = name if len(name) < 60 else f"{name[:60]}…"
            raise SettingError(
                f"{shown}: depth and width may be at most {MOST}, got {text[:12]}"
                f"{'…' if len(text) > 12 else ''}"
            )
    return tuple(map(int, groups))


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
