"""How tensors lie in memory, and a group's numbers in the order of the kernels."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ravine.kernels.variants import HYPER


def order(x: Tensor) -> list[tuple[int, int]]:
    """Returns size and stride of the dimensions longer than 1 of a tensor of any shape."""
    return [(n, s) for n, s in zip(x.shape, x.stride(), strict=True) if n > 1]


def fills_its_memory(x: Tensor) -> bool:
    """Returns whether the elements, of any shape and order, lie without gaps and overlaps."""
    expected = 1
    for n, stride in sorted(order(x), key=lambda pair: pair[1]):
        if stride != expected:
            return False
        expected *= n
    return True


def has_own_address(p: Tensor) -> bool:
    """Returns whether `data_ptr` is the address of the data, of any shape: no wrapper subclass."""
    return type(p) in (Tensor, nn.Parameter)


def numbers(group: Mapping[str, Any], scale: float | Tensor) -> list[float | Tensor]:
    """Returns a group's numbers in the order of `HYPER`; 0-dim tensors stay tensors."""
    coupled = group["decay"] == "coupled"
    γ, α = group.get("betas", (group.get("momentum", 0.0), group.get("alpha", 0.0)))
    named = {
        "lr": group["lr"],
        "coupled": group["weight_decay"] if coupled else 0.0,
        "decoupled": 0.0 if coupled else group["weight_decay"],
        "gamma": γ,
        "alpha": α,
        "eps": group.get("eps", 0.0),
        "scale": scale,
    }
    return [named[name] for name in HYPER]
