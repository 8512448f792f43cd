"""Pre-activation ResNets with bottlenecks for small images: preact-164, preact-1001.

He, Zhang, Ren, Sun, ECCV 2016: depth 9N+2, widths 64, 128, 256 after a stem of 16 channels.
"""

from torch import nn

from ravine.models.depths import preact_blocks
from ravine.models.model_options import ModelOptions
from ravine.models.preact_block import pre_activation_network
from ravine.models.stem import small_stem_stride


def preact_resnet(
    depth: int, *, classes: int, channels: int, image_size: int, options: ModelOptions
) -> nn.Module:
    """Returns preact-`depth`: images (B, channels, S, S) to logits (B, classes).

    Raises:
        SettingError: depth is not 9N+2.
    """
    return pre_activation_network(
        (64, 128, 256),
        blocks=preact_blocks(depth),
        bottleneck=True,
        classes=classes,
        channels=channels,
        stem_stride=small_stem_stride(image_size),
        options=options,
    )
