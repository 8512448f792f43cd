"""A network's copy whose convolutions and linear layers hold their weights in bfloat16.

Autocast narrows each weight at each call, which for a single image takes longer than the products.
A copy that was narrowed once answers with the same bits, where nothing but convolutions and linear
layers of torch reads those weights: one forward pass is watched for that.
"""

import copy
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # themselves, no class made of them
_NARROWING = {F.linear, F.conv1d, F.conv2d, F.conv3d}  # autocast narrows all that they are given


def narrow_copy(network: nn.Module, images: Tensor) -> nn.Module | None:
    """Returns a copy that answers under autocast as the network does; None where none is sure to.

    Args:
        network: in evaluation mode, of float32 weights that nobody changes; the copy shares what is
            not narrowed.
        images: (B, C, H, W), any that it can answer for.
    """
    narrowed = _readers_of(network)
    with _Watch(narrowed) as watch, torch.no_grad():
        network(images[:1])
    weights = [one for one in narrowed if id(one) not in watch.read_otherwise]
    if not weights:
        return None
    shared: dict[int, Any] = {id(one): one for one in [*network.parameters(), *network.buffers()]}
    shared |= {
        id(one): nn.Parameter(one.detach().to(torch.bfloat16), requires_grad=False)
        for one in weights
    }
    return copy.deepcopy(network, shared)


def _readers_of(network: nn.Module) -> list[Tensor]:
    """Returns the float32 parameters of layers of torch that no other module has too."""
    layers = [module for module in network.modules() if type(module) in _LAYERS]
    held = Counter(id(one) for module in network.modules() for one in module._parameters.values())
    return [
        one
        for layer in layers
        for one in layer.parameters(recurse=False)
        if held[id(one)] == 1 and one.dtype is torch.float32
    ]


class _Watch(TorchFunctionMode):
    """Notes which weights are read by anything but `_NARROWING`."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()
        self.weights = {id(one) for one in weights}
        self.read_otherwise: set[int] = set()

    def __torch_function__(
        self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = [*args, *(kwargs or {}).values()]
        if function not in _NARROWING:
            self.read_otherwise |= self.weights & set(_ids(given))
        return function(*args, **(kwargs or {}))


def _ids(given: Iterable[Any]) -> Iterable[int]:
    for one in given:
        if isinstance(one, list | tuple):
            yield from _ids(one)
        else:
            yield id(one)
