"""Runs any network's layers through the C library."""

from collections.abc import Mapping

from torch import nn

from ravine.nn.chains import BatchNormAct2d, Sequential, is_timms_norm
from ravine.nn.convolution import Conv2d
from ravine.nn.max_pooling import MaxPool2d
from ravine.nn.norm_act import BatchNorm2d
from ravine.nn.residual_blocks import fused_block_class, is_known_block
from ravine.nn.response_norm import LocalResponseNorm

_OURS: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: Conv2d,
    nn.BatchNorm2d: BatchNorm2d,
    nn.LocalResponseNorm: LocalResponseNorm,
    nn.MaxPool2d: MaxPool2d,
    nn.Sequential: Sequential,
}


def use_kernels_(model: nn.Module) -> nn.Module:
    """Replaces torch's convolutions, norms and poolings in `model` by Ravine's, in place.

    timm's BatchNormAct2d too. In plain `nn.Sequential`s, and in the residual blocks of timm's and
    torchvision's ResNets, a norm, its activation and the convolution after them run as one.
    Parameters, buffers, names and hooks stay; other subclasses of torch's layers are unchanged, and
    a layer that carries hooks runs by itself. On the CPU in channels_last, in bfloat16 or float32,
    training steps become faster; elsewhere nothing changes.

    Returns:
        The model.

    >>> use_kernels_(nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16)))[0].__module__
    'ravine.nn.convolution'
    """
    for module in model.modules():
        if type(module) in _OURS:
            module.__class__ = _OURS[type(module)]
        elif is_timms_norm(module):
            module.__class__ = BatchNormAct2d
        elif is_known_block(module):
            module.__class__ = fused_block_class(type(module))
    return model
