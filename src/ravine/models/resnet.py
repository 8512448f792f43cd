"""ResNets in their original form, x_ℓ = σ(F(x_{ℓ−d}) + x_{ℓ−d}).

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016. For small
images resnet-cifar-D with D = 6N+2 and parameter-free shortcuts; for large ones resnet-18 to
resnet-152 with projections, the stride of a bottleneck on its 3×3 convolution.
"""

from collections.abc import Mapping
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.models.depths import blocks_of_depth
from ravine.models.parts import (
    GlobalMean,
    Switches,
    finish_branch,
    first_of,
    mark_end_of_branch,
)
from ravine.models.stem import has_small_stem, small_stem_stride
from ravine.nn.hooks import is_hooked

#: Blocks per stage, and whether they are bottlenecks.
LARGE: Mapping[int, tuple[tuple[int, ...], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


@final
class PaddedShortcut(nn.Module):
    """A shortcut without parameters: every second pixel, new channels of zeros (option A)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        before = (channels_out - channels_in) // 2
        self.padding = (0, 0, 0, 0, before, channels_out - channels_in - before)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, channels_out, H/stride, W/stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


@final
class ResidualBlock(nn.Module):
    """(conv, norm, act), …, conv, norm; plus the shortcut; then the activation.

    Args:
        channels_in: of the input (B, channels_in, H, W).
        widths: output channels of each convolution.
        kernels: of each convolution.
        stride: of the first 3×3 convolution.
        projection: shortcuts that change the shape are 1×1 convolutions, else padded.
        dropout: stands before the last convolution.
        switches: norm, activation, skip.
    """

    dropout_followers = ("dropout", "last")

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, ...],
        kernels: tuple[int, ...],
        *,
        stride: int,
        projection: bool,
        dropout: nn.Module,
        switches: Switches,
    ) -> None:
        super().__init__()
        strided = kernels.index(3)
        sizes = (channels_in, *widths)
        layers: list[nn.Module] = []
        for place, (width, kernel) in enumerate(zip(widths[:-1], kernels[:-1], strict=True)):
            step = stride if place == strided else 1
            layers += [
                switches.convolution(sizes[place], width, kernel, stride=step),
                switches.norm_act(width),
            ]
        self.branch = nn.Sequential(*layers)
        self.dropout = dropout
        self.last = switches.convolution(sizes[-2], widths[-1], kernels[-1])
        self.end = switches.norm_act(widths[-1])
        self.skip = switches.skip
        if self.skip:
            mark_end_of_branch(self.last if switches.norm == "none" else self.end.norm)
        self.shortcut: nn.Module = nn.Identity()
        if switches.skip and (stride != 1 or channels_in != widths[-1]):
            self.shortcut = (
                _projection(channels_in, widths[-1], stride, switches)
                if projection
                else PaddedShortcut(channels_in, widths[-1], stride)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, widths[-1], H/stride, W/stride)."""
        if is_hooked(self.branch):
            out = self.last(self.dropout(self.branch(x)))
            return self.end(out, self.shortcut(x) if self.skip else None)
        inner, x = first_of(self.branch).forward_and_fork(x)
        out = finish_branch(self.branch, self.dropout, self.last, inner, None)
        return self.end(out, self.shortcut(x) if self.skip else None)


def _projection(
    channels_in: int, channels_out: int, stride: int, switches: Switches
) -> nn.Sequential:
    return nn.Sequential(
        switches.convolution(channels_in, channels_out, 1, stride=stride),
        switches.normalise(channels_out),
    )


def resnet_cifar(
    depth: int, *, classes: int, channels: int, image_size: int, switches: Switches
) -> nn.Module:
    """Returns resnet-cifar-`depth`: images (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: depth is not 6N+2.
    """
    blocks = blocks_of_depth(depth, factor=6, rest=2, name=f"resnet-cifar-{depth}")
    stem: list[nn.Module] = [
        switches.convolution(channels, 16, 3, stride=small_stem_stride(image_size)),
        switches.norm_act(16),
    ]
    return _residual_network(
        stem,
        16,
        widths=(16, 32, 64),
        blocks=(blocks,) * 3,
        bottleneck=False,
        projection=False,
        classes=classes,
        switches=switches,
    )


def resnet(
    depth: int, *, classes: int, channels: int, image_size: int, switches: Switches
) -> nn.Module:
    """Returns resnet-`depth` for large images: (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: depth is not 18, 34, 50, 101 or 152.
    """
    if depth not in LARGE:
        nearest = min(LARGE, key=lambda known: abs(known - depth))
        raise SettingError(
            f"resnet-{depth}: the depth must be one of {', '.join(map(str, LARGE))}; "
            f"nearest: {nearest} (for small images there is resnet-cifar-D)"
        )
    blocks, bottleneck = LARGE[depth]
    small = has_small_stem(image_size)
    stem: list[nn.Module] = [
        switches.convolution(channels, 64, 3 if small else 7, stride=1 if small else 2),
        switches.norm_act(64),
    ]
    if not small:
        stem.append(nn.MaxPool2d(3, 2, 1))
    wide = 4 if bottleneck else 1
    return _residual_network(
        stem,
        64,
        widths=tuple(wide * width for width in (64, 128, 256, 512)),
        blocks=blocks,
        bottleneck=bottleneck,
        projection=True,
        classes=classes,
        switches=switches,
    )


def _residual_network(
    stem: list[nn.Module],
    stem_width: int,
    *,
    widths: tuple[int, ...],
    blocks: tuple[int, ...],
    bottleneck: bool,
    projection: bool,
    classes: int,
    switches: Switches,
) -> nn.Sequential:
    layers = list(stem)
    current = stem_width
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            layers.append(
                ResidualBlock(
                    current,
                    (width // 4, width // 4, width) if bottleneck else (width, width),
                    (1, 3, 1) if bottleneck else (3, 3),
                    stride=2 if stage and block == 0 else 1,
                    projection=projection,
                    dropout=switches.dropout_of(stage, len(widths)),
                    switches=switches,
                )
            )
            current = width
    return nn.Sequential(*layers, GlobalMean(), nn.Linear(current, classes))
