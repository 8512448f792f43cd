"""Which algorithm runs a convolution of an inference: Winograd's, or products of gathered taps.

Winograd's takes fewer products, of weights that are more: in float32 a quarter of the products and
four times the weights (F(4×4)), in bfloat16 a half and twice (F(2×2); F(4×4) has four times the
error of other convolutions there). Weights come from memory once for all images, so that it pays
from some positions of a result on.
"""

import torch

from ravine.kernels.convolve import CHANNELS
from ravine.kernels.library import Library
from ravine.ops.traced_graph import Convolution

PRODUCT, WINOGRAD_2, WINOGRAD_4 = 5, 2, 4  # as in c/convolve.h


def inference_algorithm(
    library: Library,
    node: Convolution,
    result: tuple[int, int, int],
    images: int,
    dtype: torch.dtype,
) -> int:
    """Returns the algorithm's number in c/convolve.h.

    Args:
        library: that runs it.
        node: the convolution.
        result: (D, H, W) of an image.
        images: of a call.
        dtype: of its images, float32 or bfloat16.
    """
    all_out_channels, channels, kernel, _ = node.weight.shape
    out_channels = all_out_channels // node.groups
    fits = kernel == 3 and node.stride == 1 and channels % CHANNELS == out_channels % CHANNELS == 0
    fits = fits and (node.padding > 0 or result[1] > 1)  # else a linear layer of 3×3 pixels
    if not fits or images * result[1] * result[2] < _fewest_positions(library, dtype):
        return PRODUCT
    return WINOGRAD_4 if dtype is torch.float32 else WINOGRAD_2


def _fewest_positions(library: Library, dtype: torch.dtype) -> int:
    """Returns from how many positions of all results on Winograd's pays."""
    if dtype is torch.bfloat16:
        return 8  # on a Zen 4
    # On a Zen 3, and on a Zen 4, whose second cache is twice as large.
    return 128 if library.level_name in ("base", "avx2") else 40
