"""Pre-activation residual blocks: norm and activation stand before each convolution.

He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", ECCV 2016. The increment is
added to an untouched path: x_ℓ = x_{ℓ−d} + F(x_{ℓ−d}).
"""

from typing import final

from torch import Tensor, nn

from ravine.models.parts import (
    GlobalMean,
    Switches,
    finish_branch,
    first_of,
    mark_end_of_branch,
)
from ravine.nn.convolution import Conv2d
from ravine.nn.hooks import is_hooked


@final
class PreActivationBlock(nn.Module):
    """norm, act, conv; then (norm, act, conv) once or twice; plus the input.

    Where the shape changes, the shortcut is a 1×1 convolution of the activated input.

    Args:
        channels_in: of the input (B, channels_in, H, W).
        widths: output channels of each convolution.
        kernels: of each convolution.
        stride: of the first 3×3 convolution.
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
        dropout: nn.Module,
        switches: Switches,
    ) -> None:
        super().__init__()
        strided = kernels.index(3)
        sizes = (channels_in, *widths)
        final_place = len(widths) - 1
        # Without a norm the activation's input is the block's own, which the sum still needs.
        self.first = switches.norm_act(channels_in, inplace=switches.norm != "none")
        layers: list[nn.Module] = []
        for place, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
            if place:
                layers.append(switches.norm_act(sizes[place]))
            if place < final_place:
                step = stride if place == strided else 1
                layers.append(switches.convolution(sizes[place], width, kernel, stride=step))
        self.branch = nn.Sequential(*layers)
        self.dropout = dropout
        self.last = switches.convolution(sizes[-2], widths[-1], kernels[-1])
        changes = stride != 1 or channels_in != widths[-1]
        self.skip = switches.skip
        if self.skip:
            # Not the last norm: a ReLU stands behind it, whose derivative at 0 is 0, so that a
            # branch with that norm at 0 would never learn.
            mark_end_of_branch(self.last)
        self.shortcut = (
            Conv2d(channels_in, widths[-1], 1, stride, bias=False)
            if changes and switches.skip
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, widths[-1], H/stride, W/stride)."""
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
        """Returns the same with the branch run as one module, for hooks on it."""
        active, x = self.first.forward_and_fork(x)
        if self.shortcut is not None:
            x, active = self.shortcut.forward_and_fork(active)
        return self.last(self.dropout(self.branch(active)), x if self.skip else None)


def pre_activation_network(
    widths: tuple[int, ...],
    *,
    blocks: int,
    bottleneck: bool,
    stem_width: int,
    classes: int,
    channels: int,
    stem_stride: int,
    switches: Switches,
) -> nn.Sequential:
    """Returns stem, three stages of pre-activation blocks, norm, activation, mean, classifier.

    Args:
        widths: output channels of the stages.
        blocks: per stage.
        bottleneck: 1×1, 3×3, 1×1 with a quarter of the width inside, else 3×3, 3×3.
        stem_width: channels of the first convolution.
        classes: K.
        channels: of the images.
        stem_stride: of the first convolution.
        switches: norm, activation, dropout, skip.
    """
    layers: list[nn.Module] = [switches.convolution(channels, stem_width, 3, stride=stem_stride)]
    current = stem_width
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(
                PreActivationBlock(
                    current,
                    (width // 4, width // 4, width) if bottleneck else (width, width),
                    (1, 3, 1) if bottleneck else (3, 3),
                    stride=2 if stage and block == 0 else 1,
                    dropout=switches.dropout_of(stage, len(widths)),
                    switches=switches,
                )
            )
            current = width
    layers += [
        switches.norm_act(current),
        GlobalMean(),
        nn.Linear(current, classes),
    ]
    return nn.Sequential(*layers)
