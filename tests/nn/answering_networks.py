"""Networks whose norms are unlike those of the start, and images for them to answer for."""

import torch
from torch import Tensor, nn

from ravine.models import build

SIZES = {  # channels of the images, and pixels a side
    "wrn-10-1": (3, 16),
    "preact-20": (3, 12),
    "resnet-18": (3, 33),
    "resnet-cifar-8": (1, 14),
    "swift-1": (3, 17),
}


def answering_network(name: str, *, classes: int, seed: int = 3) -> nn.Module:
    """Returns a network in evaluation mode and channels_last, of norms that have seen images."""
    channels, size = SIZES[name]
    torch.manual_seed(seed)
    network = build(name, classes=classes, channels=channels, image_size=size).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight, -1, 1.5)
            nn.init.normal_(layer.bias)
    return network.to(memory_format=torch.channels_last)


def images_for(count: int, name: str = "wrn-10-1") -> Tensor:
    """Returns so many images (count, channels, size, size) of noise, the same each time."""
    channels, size = SIZES[name]
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(count))
