"""Products of tiles, native or emulated, against the pseudocode of Intel's manual.

TDPBF16PS (SDM, volume 2): even and odd elements are added up apart, each with fused multiply-adds
in float32, then both; denormals count as zero. VCVTNE2PS2BF16: rounds to nearest even.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from torch import Tensor

from ravine.ops.convolution_passes import convolution_pass, weight_gradient_pass

pytestmark = pytest.mark.usefixtures("tiles")
LEAST_NORMAL = float(torch.finfo(torch.float32).tiny)


def images(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.bfloat16().contiguous(memory_format=torch.channels_last)


def dot_product(a: np.ndarray, b: np.ndarray, *, interleaved: bool = False) -> np.ndarray:
    """Σ a·b over (pairs, 2): (pairs, 2, m) and (pairs, 2, n) of bfloat16 values to (m, n).

    Even and odd elements are added up apart; `interleaved` adds all of them up in one sum.
    """
    sums = np.zeros((2, a.shape[2], b.shape[2]), dtype=np.float32)
    for pair in range(len(a)):
        for half in range(2):
            product = np.outer(a[pair, half], b[pair, half])
            to = 0 if interleaved else half
            sums[to] = (sums[to] + product).astype(np.float32)  # rounded once, as fused
    return sums[0] + sums[1]


def test_a_weight_gradient_is_the_dot_product_of_the_manual_to_the_bit(
    torch_threads: Callable[[int], AbstractContextManager[None]],
) -> None:
    # One pair of images of 3×3 pixels: a pair of elements is the same pixel of both.
    x, dy = images(2, 32, 3, 3, seed=1), images(2, 16, 3, 3, seed=2)
    x *= 2.0 ** torch.randint(-6, 7, x.shape, generator=torch.Generator().manual_seed(3))
    with torch_threads(1):  # two would have an image each
        found = weight_gradient_pass(dy, x, 1, 1, 0, algorithm="tiles")[:, :, 0, 0].numpy()
    pairs = [t.float().permute(2, 3, 0, 1).reshape(9, 2, -1).double().numpy() for t in (dy, x)]
    assert np.array_equal(found, dot_product(*pairs))
    # The order of the sum decides here: another one gives other bits.
    assert not np.array_equal(found, dot_product(*pairs, interleaved=True))


def test_products_below_the_least_normal_number_are_zero() -> None:
    for exponent, is_kept in ((-60, True), (-70, False)):
        x, dy = images(2, 16, 1, 1, seed=1), images(2, 16, 1, 1, seed=2)
        x[0], dy[0], x[1], dy[1] = 2.0**exponent, 2.0**exponent, 0, 0
        found = weight_gradient_pass(dy, x, 1, 1, 0, algorithm="tiles")
        assert torch.equal(found, torch.full_like(found, 4.0**exponent if is_kept else 0.0))


def test_weights_are_rounded_to_nearest_even_and_denormals_flushed() -> None:
    weight = torch.zeros(16, 16, 3, 3)
    bits = torch.arange(16, dtype=torch.int32) * 0x1000 + 0x3F80_7000
    weight[:, 0, 1, 1] = bits.view(torch.float32)
    weight[:4, 0, 1, 1] = torch.tensor([LEAST_NORMAL / 2, -LEAST_NORMAL, 3.0e38, float("nan")])
    x = torch.zeros(1, 16, 1, 1).bfloat16().contiguous(memory_format=torch.channels_last)
    x[0, 0] = 1
    found = convolution_pass(x, weight, 1, 1, algorithm="tiles")[0][0, :, 0, 0]
    wanted = weight[:, 0, 1, 1].bfloat16()
    wanted[0] = 0
    assert torch.equal(found.isnan(), wanted.isnan())
    assert torch.equal(found.nan_to_num(), wanted.nan_to_num())
