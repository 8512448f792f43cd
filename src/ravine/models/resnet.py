"""ResNets in their original form, x_ℓ = σ(F(x_{ℓ−d}) + x_{ℓ−d}).

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016. For small
images resnet-cifar-D with D = 6N+2 and parameter-free shortcuts; for large ones resnet-18 to
resnet-152 with projections, the stride of a bottleneck on its 3×3 convolution.

Shape letters in this file: B batch, C channels, H height, W width, S image size.
"""

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from ravine.models.depths import cifar_blocks, large_blocks
from ravine.models.model_options import ModelOptions
from ravine.models.residual import (
    BlockShape,
    GlobalMean,
    finish_branch,
    first_of,
    mark_end_of_branch,
    mark_summands,
    residual_stages,
)
from ravine.models.stem import has_small_stem, small_stem_stride
from ravine.nn.hooks import is_hooked


@final
class PaddedShortcut(nn.Module):
    """The shortcut of option A, without parameters: subsampled, new channels of zeros."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        before = (channels_out - channels_in) // 2
        self.padding = (0, 0, 0, 0, before, channels_out - channels_in - before)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, channels_out, H/stride, W/stride) from (B, channels_in, H, W)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


@final
class ResidualBlock(nn.Module):
    """(conv, norm, act), …, conv, norm; plus the shortcut; then the activation.

    Args:
        shape: the convolutions.
        dropout: layer before the last convolution.
        projection: shortcuts that change the shape are 1×1 convolutions (option B), else padded
            (option A).
        options: norm, activation, skip.
    """

    dropout_followers = ("dropout", "last")

    def __init__(
        self, shape: BlockShape, dropout: nn.Module, *, projection: bool, options: ModelOptions
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        last = len(shape.widths) - 1
        for index in range(last):
            layers += [shape.convolution(index, options), options.norm_act(shape.widths[index])]
        self.branch = nn.Sequential(*layers)
        self.dropout = dropout
        self.last = shape.convolution(last, options)
        self.end = options.norm_act(shape.channels_out)
        self.skip = options.skip
        if self.skip:
            mark_end_of_branch(self.last if options.norm == "none" else self.end.norm)
        self.shortcut: nn.Module = nn.Identity()
        if options.skip and shape.changes_shape:
            make = _projection if projection else _padding
            self.shortcut = make(shape, options)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, C, H/s, W/s) from (B, channels_in, H, W)."""
        if is_hooked(self.branch):
            out = self.last(self.dropout(self.branch(x)))
            return self.end(out, self.shortcut(x) if self.skip else None)
        inner, x = first_of(self.branch).forward_and_fork(x)
        out = finish_branch(self.branch, self.dropout, self.last, inner, None)
        return self.end(out, self.shortcut(x) if self.skip else None)


def _projection(shape: BlockShape, options: ModelOptions) -> nn.Module:
    return nn.Sequential(
        options.convolution(shape.channels_in, shape.channels_out, 1, stride=shape.stride),
        options.normalise(shape.channels_out),
    )


def _padding(shape: BlockShape, _: ModelOptions) -> nn.Module:
    return PaddedShortcut(shape.channels_in, shape.channels_out, shape.stride)


def resnet_cifar(
    depth: int, *, classes: int, channels: int, image_size: int, options: ModelOptions
) -> nn.Module:
    """Returns resnet-cifar-`depth`: images (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: depth is not 6N+2.
    """
    blocks = cifar_blocks(depth)
    stem: list[nn.Module] = [
        options.convolution(channels, 16, 3, stride=small_stem_stride(image_size)),
        options.norm_act(16),
    ]
    return _residual_network(
        stem,
        16,
        widths=(16, 32, 64),
        blocks=(blocks,) * 3,
        bottleneck=False,
        projection=False,
        classes=classes,
        options=options,
    )


def resnet(
    depth: int, *, classes: int, channels: int, image_size: int, options: ModelOptions
) -> nn.Module:
    """Returns resnet-`depth` for large images: (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: depth is not 18, 34, 50, 101 or 152.
    """
    blocks, bottleneck = large_blocks(depth)
    small = has_small_stem(image_size)
    stem: list[nn.Module] = [
        options.convolution(channels, 64, 3 if small else 7, stride=1 if small else 2),
        options.norm_act(64),
    ]
    if not small:
        stem.append(nn.MaxPool2d(3, 2, 1))
    expansion = 4 if bottleneck else 1
    return _residual_network(
        stem,
        64,
        widths=tuple(expansion * width for width in (64, 128, 256, 512)),
        blocks=blocks,
        bottleneck=bottleneck,
        projection=True,
        classes=classes,
        options=options,
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
    options: ModelOptions,
) -> nn.Sequential:
    def block(shape: BlockShape, dropout: nn.Module) -> nn.Module:
        return ResidualBlock(shape, dropout, projection=projection, options=options)

    stages = residual_stages(
        block, stem_width, widths=widths, blocks=blocks, bottleneck=bottleneck, options=options
    )
    head = nn.Linear(widths[-1], classes)
    if options.skip:
        mark_summands(head, sum(blocks))
    return nn.Sequential(*stem, *stages, GlobalMean(), head)
