"""Which algorithm runs a convolution of an inference: Winograd's, or products of gathered taps.

Winograd's takes fewer products, of weights that are more: F(4×4) a quarter of the products and four
times the weights, F(2×2) a half and twice (in bfloat16 F(4×4) has four times the error of other
convolutions). Weights come from memory once for all images, so that it pays from some positions of
a result on.
"""

import math

import torch

from ravine.kernels.convolve import CHANNELS
from ravine.kernels.library import Library
from ravine.ops.traced_graph import Convolution

PRODUCT, WINOGRAD_2, WINOGRAD_4 = 5, 2, 4  # as in c/convolve.h

# Positions of all results from which on Winograd's pays, on a Zen 4.
_FEWEST_IN_BFLOAT16, _FEWEST_AVX512 = 8, 40

# What it takes on a Zen 3 to read a weight, in products of it: from the second cache, and where
# they do not fit there.
_COST_OF_WEIGHT, _COST_OF_FAR_WEIGHT = 6, 10
_MANY_WEIGHTS = 1 << 15


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
    if not fits:
        return PRODUCT
    if dtype is torch.bfloat16:
        return WINOGRAD_2 if images * result[1] * result[2] >= _FEWEST_IN_BFLOAT16 else PRODUCT
    if library.level_name not in ("base", "avx2"):
        return WINOGRAD_4 if images * result[1] * result[2] >= _FEWEST_AVX512 else PRODUCT
    return _cheapest(result[1:], images, weights=channels * out_channels)


def _cheapest(result: tuple[int, int], images: int, *, weights: int) -> int:
    """Returns what takes the least time on a Zen 3.

    Args:
        result: (H, W) of an image.
        images: of a call.
        weights: C·D, channels in and out.
    """
    a_weight = _COST_OF_FAR_WEIGHT if weights >= _MANY_WEIGHTS else _COST_OF_WEIGHT

    def cost(tile: int, components: int) -> float:
        tiles = math.prod(-(-side // tile) for side in result)
        return components * (images * tiles + a_weight)

    costs = {WINOGRAD_4: cost(4, 36), WINOGRAD_2: cost(2, 16), PRODUCT: cost(1, 9)}
    return min(costs, key=costs.__getitem__)
