"""The residual blocks of timm's and torchvision's ResNets, with norms inside their neighbours.

Their blocks call their layers one by one, so that no layer knows what follows it. A block whose
parts are as He et al. (2015) have them (convolutions, norms, activations and a skip, nothing else)
runs as Ravine's own does; any other, and one under the compiler, runs as its class says.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ravine.nn.convolution import Conv2d
from ravine.nn.hooks import is_hooked
from ravine.nn.norm_act import BatchNorm2d, NormAct

_FILES = ("timm.models.resnet", "torchvision.models.resnet")
_CLASSES = ("BasicBlock", "Bottleneck")
# What some of these blocks have between their layers; None or Identity where it is not used.
_MORE = ("drop_block", "aa", "se", "drop_path")
_made: dict[type[nn.Module], type[nn.Module]] = {}


class _Layers(NamedTuple):
    """The layers of a block in order; as many of each."""

    convolutions: Sequence[Conv2d]
    norms: Sequence[nn.Module]
    activations: Sequence[nn.Module]


def is_known_block(module: nn.Module) -> bool:
    """Returns whether a module is such a block itself, and not a subclass of one."""
    kind = type(module)
    return kind.__module__ in _FILES and kind.__name__ in _CLASSES


def fused_block_class(theirs: Any) -> type[nn.Module]:
    """Returns a subclass of a class of blocks with its forward pass fused; one for each class."""
    if theirs not in _made:
        _made[theirs] = _fuse(theirs)
    return _made[theirs]


def _fuse(theirs: Any) -> type[nn.Module]:
    def forward(self: Any, x: Tensor) -> Tensor:
        """Returns act(residual branch(x) + shortcut(x)), images (B, C, H, W)."""
        layers = None if torch.compiler.is_compiling() else _plain_layers(self)
        if layers is None:
            result: Tensor = theirs.forward(self, x)
            return result
        return _run(layers, self.downsample, x)

    def reduce(self: nn.Module, _: Any) -> tuple[Any, ...]:
        return _new_block, (theirs,), self.__dict__

    methods = {"forward": forward, "__reduce_ex__": reduce}
    return cast("type[nn.Module]", type(theirs.__name__, (theirs,), methods))


def _new_block(theirs: type[nn.Module]) -> nn.Module:
    """Returns an empty block, as pickle and copy fill one."""
    kind = fused_block_class(theirs)
    return kind.__new__(kind)


def _plain_layers(block: Any) -> _Layers | None:
    """Returns the layers, or None where the block has more than these or they are not Ravine's."""
    numbers = [n for n in (1, 2, 3) if hasattr(block, f"conv{n}")]
    convolutions = [getattr(block, f"conv{n}") for n in numbers]
    norms = [getattr(block, f"bn{n}") for n in numbers]
    activations: list[Any] = [
        getattr(block, f"act{n}", getattr(block, "relu", None)) for n in numbers
    ]
    is_plain = (
        all(type(layer) is Conv2d for layer in convolutions)
        and all(type(layer) is BatchNorm2d for layer in norms)
        and all(isinstance(layer, nn.Module) for layer in activations)
        and all(_does_nothing(getattr(block, name, None)) for name in _MORE)
    )
    return _Layers(convolutions, norms, activations) if is_plain else None


def _does_nothing(layer: nn.Module | None) -> bool:
    return layer is None or (type(layer) is nn.Identity and not is_hooked(layer))


def _run(layers: _Layers, downsample: nn.Module | None, x: Tensor) -> Tensor:
    first, *others = layers.convolutions
    *pairs, last = map(NormAct.of, layers.norms, layers.activations)
    y = first(x)
    for pair, convolution in zip(pairs, others, strict=True):
        y, _ = convolution.norm_act_conv(pair, y)
    return last(y, x if downsample is None else downsample(x))
