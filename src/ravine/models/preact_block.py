"""Pre-activation residual blocks: norm and activation before each convolution.

He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", ECCV 2016: the shortcut is the
identity, x_ℓ = x_{ℓ−d} + F(x_{ℓ−d}).

Shape letters in this file: B batch, C channels, H height, W width.
"""

from typing import final

from torch import Tensor, nn

from ravine.models.model_options import ModelOptions
from ravine.models.residual import (
    BlockShape,
    GlobalMean,
    finish_branch,
    first_of,
    mark_end_of_branch,
    residual_stages,
)
from ravine.nn.convolution import Conv2d
from ravine.nn.hooks import is_hooked

_STEM_WIDTH = 16  # of both papers


@final
class PreActivationBlock(nn.Module):
    """norm, act, conv; then (norm, act, conv) once or twice; plus the input.

    Where the shape changes, the shortcut is a 1×1 convolution of the activated input.

    Args:
        shape: the convolutions.
        dropout: layer before the last convolution.
        options: norm, activation, skip.
    """

    dropout_followers = ("dropout", "last")

    def __init__(self, shape: BlockShape, dropout: nn.Module, *, options: ModelOptions) -> None:
        super().__init__()
        # Without a norm the activation's input is the block's own, which the sum still needs.
        self.first = options.norm_act(shape.channels_in, inplace=options.norm != "none")
        layers: list[nn.Module] = []
        last = len(shape.widths) - 1
        for index in range(last):
            layers += [shape.convolution(index, options), options.norm_act(shape.widths[index])]
        self.branch = nn.Sequential(*layers)
        self.dropout = dropout
        self.last = shape.convolution(last, options)
        self.skip = options.skip
        if self.skip:
            # Not the last norm: a ReLU follows it, whose derivative at 0 is 0, so that a branch
            # with that norm at 0 would never learn.
            mark_end_of_branch(self.last)
        self.shortcut = (
            Conv2d(shape.channels_in, shape.channels_out, 1, shape.stride, bias=False)
            if shape.changes_shape and options.skip
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, C, H/s, W/s) from (B, channels_in, H, W)."""
        if is_hooked(self.branch):
            return self._forward_by_layers(x)
        if self.shortcut is None:
            inner, x = first_of(self.branch).norm_act_conv(self.first, x)
        else:
            x, active = self.shortcut.forward_and_fork(self.first(x))
            inner = first_of(self.branch)(active)
        residual = x if self.skip else None
        return finish_branch(self.branch, self.dropout, self.last, inner, residual)

    def _forward_by_layers(self, x: Tensor) -> Tensor:
        """Returns the same, with one call of the branch as a whole, for its hooks."""
        active, x = self.first.forward_and_fork(x)
        if self.shortcut is not None:
            x, active = self.shortcut.forward_and_fork(active)
        return self.last(self.dropout(self.branch(active)), x if self.skip else None)


def pre_activation_network(
    widths: tuple[int, ...],
    *,
    blocks: int,
    bottleneck: bool,
    classes: int,
    channels: int,
    stem_stride: int,
    options: ModelOptions,
) -> nn.Sequential:
    """Returns the network: images (B, channels, S, S) to logits (B, classes).

    A stem of 16 channels, three stages of pre-activation blocks, norm, activation, global average
    pooling, classifier.

    Args:
        widths: output channels of the stages.
        blocks: number of blocks per stage.
        bottleneck: blocks of 1×1, 3×3, 1×1, else 3×3, 3×3.
        classes: number of classes.
        channels: channels of the images.
        stem_stride: stride of the first convolution.
        options: norm, activation, dropout, skip.
    """

    def block(shape: BlockShape, dropout: nn.Module) -> nn.Module:
        return PreActivationBlock(shape, dropout, options=options)

    return nn.Sequential(
        options.convolution(channels, _STEM_WIDTH, 3, stride=stem_stride),
        *residual_stages(
            block,
            _STEM_WIDTH,
            widths=widths,
            blocks=(blocks,) * len(widths),
            bottleneck=bottleneck,
            options=options,
        ),
        options.norm_act(widths[-1]),
        GlobalMean(),
        nn.Linear(widths[-1], classes),
    )
