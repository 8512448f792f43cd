"""WideResNet: WRN-n-k, n = 6N+4 layers, k times the width of a ResNet.

Zagoruyko, Komodakis, "Wide residual networks", BMVC 2016: blocks B(3,3), widths 16, 16k, 32k,
64k, dropout between the two convolutions of a block.
"""

from torch import nn

from ravine.models.depths import wide_blocks
from ravine.models.model_options import ModelOptions
from ravine.models.preact_block import pre_activation_network
from ravine.models.stem import small_stem_stride


def wide_resnet(
    depth: int, width: int, *, classes: int, channels: int, image_size: int, options: ModelOptions
) -> nn.Module:
    """Returns WRN-`depth`-`width`: images (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: depth is not 6N+4, or width is below 1.
    """
    blocks = wide_blocks(depth, width)
    return pre_activation_network(
        (16 * width, 32 * width, 64 * width),
        blocks=blocks,
        bottleneck=False,
        classes=classes,
        channels=channels,
        stem_stride=small_stem_stride(image_size),
        options=options,
    )
