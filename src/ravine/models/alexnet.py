"""AlexNet as in 2012, and its single tower of 2014.

Krizhevsky, Sutskever, Hinton, NIPS 2012: ReLU, local response normalisation, overlapping
pooling 3×3 with stride 2, two groups (the two GPUs of the time), dropout 0.5 in the two large
fully connected layers. Krizhevsky, "One weird trick", 2014: one tower, no normalisation.

Both have no batch norm, so that `norm` does not apply to them, and no skip connections.
"""

from torch import nn

from ravine.core.errors import SettingError
from ravine.models.model_options import ModelOptions
from ravine.models.stem import alexnet_first
from ravine.nn.response_norm import LocalResponseNorm

_DROPOUT = 0.5
_LARGEST_MAP = 6  # pixels a side before the fully connected layers, at 224


def alexnet_2012(
    *, classes: int, channels: int, image_size: int, options: ModelOptions
) -> nn.Module:
    """Returns AlexNet: images (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: the images are too small for its poolings.
    """
    act = options.act

    def normalise() -> nn.Module:
        return LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)

    kernel, stride, padding = alexnet_first(image_size)
    features: list[nn.Module] = [
        nn.Conv2d(channels, 96, kernel, stride, padding),
        act(),
        normalise(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        act(),
        normalise(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1),
        act(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        act(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
        act(),
        nn.MaxPool2d(3, 2),
    ]
    return _with_classifier(features, classes, image_size, options)


def alexnet_2014(
    *, classes: int, channels: int, image_size: int, options: ModelOptions
) -> nn.Module:
    """Returns the single tower: images (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: the images are too small for its poolings.
    """
    act = options.act
    kernel, stride, padding = alexnet_first(image_size)
    features: list[nn.Module] = [
        nn.Conv2d(channels, 64, kernel, stride, padding),
        act(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        act(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        act(),
        nn.Conv2d(384, 256, 3, padding=1),
        act(),
        nn.Conv2d(256, 256, 3, padding=1),
        act(),
        nn.MaxPool2d(3, 2),
    ]
    return _with_classifier(features, classes, image_size, options)


def _map_size(image_size: int) -> int:
    kernel, stride, padding = alexnet_first(image_size)
    size = (image_size + 2 * padding - kernel) // stride + 1
    for _ in range(3):
        size = (size - 3) // 2 + 1
    return size


def _with_classifier(
    features: list[nn.Module], classes: int, image_size: int, options: ModelOptions
) -> nn.Sequential:
    size = min(_map_size(image_size), _LARGEST_MAP)
    if size < 1:
        raise SettingError(f"alexnet needs images of at least 15×15, got {image_size}")
    return nn.Sequential(
        *features,
        nn.AdaptiveAvgPool2d(size),
        nn.Flatten(),
        options.dropout_of(0, 2, own=_DROPOUT),
        nn.Linear(256 * size * size, 4096),
        options.act(),
        options.dropout_of(1, 2, own=_DROPOUT),
        nn.Linear(4096, 4096),
        options.act(),
        nn.Linear(4096, classes),
    )
