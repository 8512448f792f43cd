"""A small network that learns small images in minutes: swift-K, K times as wide.

The network of the CIFAR-10 speed records: a frozen first layer that whitens 2×2 patches (Coates,
Ng 2012), then three pairs of 3×3 convolutions with max pooling after each first one, and scaled
logits. Convolutions are initialised as the identity on their input channels (Zagoruyko,
Komodakis, "DiracNets", 2017; page, "How to train your ResNet 8", 2019; Jordan, "94 % on CIFAR-10
in 3.29 seconds", 2024). The scales of its norms are frozen at 1.

Shape letters in this file: B batch, C channels, S image size, D channels of the whitening.
"""

from typing import final

import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.models.model_options import ModelOptions
from ravine.models.stem import small_stem_stride
from ravine.nn.convolution import Conv2d
from ravine.nn.max_pooling import MaxPool2d
from ravine.nn.norm_act import NormAct

_WIDTHS = (64, 256, 256)
_HEAD = 0.35  # deviation of the scaled logits, of that by fan-in
LEAST_SIZE = 14  # pixels a side: the last pooling needs one
_MOMENTUM = 0.4  # of the running statistics: few steps, and the last ones count
_LOGITS = 1 / 9
_WHITEN_EPS = 5e-4
_PATCH = 2
_TILE = 4  # pixels a side that Winograd's F(4×4, 3×3) computes at a time


@final
class Whitening(nn.Module):
    """2×2 patches to uncorrelated channels and their negatives: (B, C, S, S) to (B, D, S', S').

    D is the next multiple of 16 from 8·C on, because processors multiply tiles of 16 channels; the
    channels from 8·C on are 0. `fit_` computes the weights from images; they are frozen.
    """

    def __init__(self, channels: int, *, stride: int) -> None:
        super().__init__()
        self.own = 2 * channels * _PATCH**2
        self.convolution = nn.Conv2d(channels, -(-self.own // 16) * 16, _PATCH, stride, bias=False)
        self.convolution.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, D, S', S') from (B, C, S, S), with S' = ⌊(S − 2)/stride⌋ + 1."""
        return self.convolution(x)

    @torch.no_grad()
    def fit_(self, images: Tensor) -> None:
        """Sets the weights to the whitening of the patches of images (B, C, S, S), any float type.

        Rows are v/√(λ + ε) for the eigenvectors v and eigenvalues λ of the patches' covariance.
        """
        channels = images.shape[1]
        patches = images.float().unfold(2, _PATCH, 1).unfold(3, _PATCH, 1)
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * _PATCH**2).double()
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        scaled = (vectors / (values + _WHITEN_EPS).sqrt()).T.flip(0)
        both = torch.cat([scaled, -scaled]).reshape(self.own, channels, _PATCH, _PATCH)
        weight = self.convolution.weight
        weight.zero_()
        weight[: self.own] = both.to(weight)


@final
class Swift(nn.Sequential):
    """Whitening, three stages of two convolutions, pooling, classifier with scaled logits."""

    def after_init_(self) -> None:
        """Initialises the later convolutions as the identity on their first channels, and the head.

        The head's scaled logits have a third of the deviation of a head drawn by fan-in. Without
        the division by the scale, the layers before it would learn so many times more slowly.
        """
        whitening = self[0]
        assert isinstance(whitening, Whitening)
        # The identity on a channel that is always 0 would have no variance to be normalised.
        filled = whitening.own
        for layer in self.modules():
            if isinstance(layer, Conv2d):
                width = min(filled, layer.out_channels)
                nn.init.dirac_(layer.weight.data[:width])
                filled = layer.out_channels
        head, scale = self[-2], self[-1]
        assert isinstance(head, nn.Linear)
        assert isinstance(scale, Scale)
        head.weight.mul_(_HEAD / scale.factor)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (B, classes) from (B, C, S, S); norms run inside the next convolution."""
        pending: NormAct | None = None
        for layer in self:
            if pending is not None and isinstance(layer, Conv2d):
                x, _ = layer.norm_act_conv(pending, x)
                pending = None
                continue
            if pending is not None and not isinstance(layer, nn.Identity):
                x, pending = pending(x), None
            if isinstance(layer, NormAct):
                pending = layer
            else:
                x = layer(x)
        return x

    def fit_(self, images: Tensor) -> None:
        """Fits the whitening to normalised training images (B, C, S, S)."""
        whitening = self[0]
        assert isinstance(whitening, Whitening)
        whitening.fit_(images)


@final
class Scale(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Returns x (any shape) times the factor."""
        return x * self.factor

    def extra_repr(self) -> str:
        """Returns the factor."""
        return f"{self.factor:.3g}"


def swift(
    width: int, *, classes: int, channels: int, image_size: int, options: ModelOptions
) -> nn.Module:
    """Returns swift-`width`: images (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: the images are too small.
    """
    if image_size < LEAST_SIZE:
        raise SettingError(
            f"swift needs images of at least {LEAST_SIZE}×{LEAST_SIZE}, got {image_size}"
        )
    whitening = Whitening(channels, stride=small_stem_stride(image_size))
    layers: list[nn.Module] = [whitening, options.act()]
    current = whitening.convolution.out_channels
    for stage, width_of_one in enumerate(_WIDTHS):
        out = width * width_of_one
        layers += [
            options.convolution(current, out, 3),
            MaxPool2d(2),
            _norm_act(options, out),
            options.convolution(out, out, 3),
            _norm_act(options, out),
            options.dropout_of(stage, len(_WIDTHS)),
        ]
        current = out
    layers += [
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(current, classes, bias=False),
        Scale(_LOGITS),
    ]
    return Swift(*layers)


def small_size(image_size: int) -> int:
    """Returns the pixels a side of smaller images that take swift little time for what they show.

    The largest size up to three quarters at which the third stage's maps fill whole tiles of 4×4,
    in which its convolutions are computed: 20 for images of 28 and 32, where 21 and 24 fill four
    tiles in place of one.

    >>> small_size(32), small_size(64)
    (20, 36)
    """
    stride, largest = small_stem_stride(image_size), int(0.75 * image_size)
    for size in range(largest, image_size // 2, -1):
        maps = ((size - _PATCH) // stride + 1) // 4
        if maps and maps % _TILE == 0:
            return size
    return largest


def _norm_act(options: ModelOptions, channels: int) -> nn.Module:
    layer = options.norm_act(channels)
    if isinstance(layer.norm, nn.BatchNorm2d):
        layer.norm.momentum = _MOMENTUM
        layer.norm.weight.requires_grad_(False)
    return layer
