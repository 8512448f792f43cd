"""Parts of all residual networks: shapes of blocks, their stages, their branches.

Shape letters in this file: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ravine.models.model_options import ModelOptions
from ravine.nn.convolution import Conv2d
from ravine.nn.norm_act import NormAct


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShape:
    """The convolutions of one residual block: (B, channels_in, H, W) to (B, C, H/s, W/s).

    Attributes:
        channels_in: channels of the input.
        widths: output channels of each convolution; C is the last.
        kernels: kernel size of each convolution.
        stride: s, of the first 3×3 convolution.
    """

    channels_in: int
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    stride: int

    @property
    def channels_out(self) -> int:
        """C."""
        return self.widths[-1]

    @property
    def changes_shape(self) -> bool:
        """Whether the shortcut has to change the shape."""
        return self.stride != 1 or self.channels_in != self.channels_out

    def channels_before(self, index: int) -> int:
        """Returns the input channels of a convolution, counted from 0."""
        return (self.channels_in, *self.widths)[index]

    def convolution(self, index: int, options: ModelOptions) -> Conv2d:
        """Returns a convolution of the block, counted from 0."""
        return options.convolution(
            self.channels_before(index),
            self.widths[index],
            self.kernels[index],
            stride=self.stride if index == self.kernels.index(3) else 1,
        )


def residual_stages(
    make_block: Callable[[BlockShape, nn.Module], nn.Module],
    channels_in: int,
    *,
    widths: Sequence[int],
    blocks: Sequence[int],
    bottleneck: bool,
    options: ModelOptions,
) -> list[nn.Module]:
    """Returns the blocks of all stages: (B, channels_in, H, W) to (B, widths[-1], H/s, W/s).

    Args:
        make_block: makes a block from its shape and its dropout layer.
        channels_in: channels of the stem's output.
        widths: output channels of the stages; each stage after the first halves H and W.
        blocks: number of blocks of the stages.
        bottleneck: 1×1, 3×3, 1×1 with a quarter of the width inside, else 3×3, 3×3.
        options: norm, activation, dropout, skip.
    """
    layers: list[nn.Module] = []
    current = channels_in
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for index in range(count):
            shape = BlockShape(
                channels_in=current,
                widths=(width // 4, width // 4, width) if bottleneck else (width, width),
                kernels=(1, 3, 1) if bottleneck else (3, 3),
                stride=2 if stage and index == 0 else 1,
            )
            layers.append(make_block(shape, options.dropout_of(stage, len(widths))))
            current = width
    return layers


def first_of(branch: nn.Sequential) -> Conv2d:
    """Returns the first convolution of a branch of (convolution, norm), …."""
    first = branch[0]
    assert isinstance(first, Conv2d)
    return first


def finish_branch(
    branch: nn.Sequential, dropout: nn.Module, last: Conv2d, inner: Tensor, residual: Tensor | None
) -> Tensor:
    """Returns a branch's output from that of its first convolution, norms inside convolutions.

    Args:
        branch: (convolution, norm), …, in this order.
        dropout: layer before `last`.
        last: the convolution after the branch.
        inner: output of the first convolution, (B, C, H, W).
        residual: added to the result, of the result's shape.

    Returns:
        Of shape (B, C', H', W'), the output of `last`.
    """
    convolutions = [layer for layer in branch if isinstance(layer, Conv2d)]
    norms = [layer for layer in branch if isinstance(layer, NormAct)]
    for norm, convolution in zip(norms[:-1], convolutions[1:], strict=True):
        inner, _ = convolution.norm_act_conv(norm, inner)
    if isinstance(dropout, nn.Identity):
        return last.norm_act_conv(norms[-1], inner, residual)[0]
    return last(dropout(norms[-1](inner)), residual)


def mark_end_of_branch(layer: nn.Module) -> None:
    """Marks the layer that `init_(zero_residual=True)` starts at zero."""
    layer.ends_residual_branch = True  # type: ignore[assignment]


def mark_summands(head: nn.Linear, count: int) -> None:
    """Marks a head whose input is the sum of `count` branches, without a norm: see `init_`."""
    head.summands = count  # type: ignore[assignment]


class GlobalMean(nn.Module):
    """Global average pooling: (B, C, H, W) to (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns the mean over H and W, (B, C)."""
        return x.mean((2, 3))
