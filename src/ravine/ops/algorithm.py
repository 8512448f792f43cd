"""The algorithms that can run a convolution, one row each, and which of them suit a shape.

An algorithm is a row here and its passes (`convolution_passes`). The costs are a guess: the first
candidate runs where nothing was measured, and the second is what a measured plan
(`kernel_plan`) compares it with.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ravine.kernels.convolve import MOST_KERNEL, fits
from ravine.kernels.convolve import MOST_STRIDE as MOST_CONVOLVED_STRIDE
from ravine.kernels.library import LEVELS, load_library
from ravine.kernels.weight_gradient import CHANNELS, MOST_STRIDE
from ravine.ops.algorithm_names import Algorithm

DTypeName = Literal["bfloat16", "float32"]
_MOST_CANDIDATES = 2
_AMX = ("amx", "amx-emulated")


@dataclass(frozen=True, slots=True)
class ConvolutionShape:
    """What decides the algorithm of a convolution; the number of images does not.

    Attributes:
        channels: C of the images (B, C, H, W).
        out_channels: D of the result.
        height: H.
        width: W.
        kernel: side of the kernel.
        stride: along both sides.
        padding: along both sides.
        dtype: of images and products.
        bias: a bias is added.
    """

    channels: int
    out_channels: int
    height: int
    width: int
    kernel: int
    stride: int
    padding: int
    dtype: DTypeName
    bias: bool = False

    @property
    def multiply_adds(self) -> int:
        """Multiplications of the forward pass of one image."""
        sides = (self.height, self.width)
        high, wide = ((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in sides)
        return high * wide * self.channels * self.out_channels * self.kernel**2

    def geometry(self) -> str:
        """Returns channels, size, kernel and stride: `64→128, 28×28, kernel 3, stride 2`."""
        return (
            f"{self.channels}→{self.out_channels}, {self.height}×{self.width}, "
            f"kernel {self.kernel}, stride {self.stride}"
        )

    def __str__(self) -> str:
        """Returns the shape in a line."""
        return f"{self.geometry()}, {self.dtype}{', bias' if self.bias else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmRow:
    """An algorithm: where it runs and what it costs.

    Attributes:
        summary: what it does, in a phrase.
        levels: of the C library that have its code; empty for one that needs no library.
        fits: whether it can run a shape.
        cost: seconds of forward pass, input gradient and weight gradient of a shape, in forward
            passes of torch's convolution: a guess.
        whole: all three passes are its own, so that norms and skips are fused into it; else the
            weight gradient alone, and an evaluation is torch's.
    """

    summary: str
    levels: tuple[str, ...]
    fits: Callable[[ConvolutionShape], bool]
    cost: Callable[[ConvolutionShape], float]
    whole: bool = False


def _weights_fit_tiles(shape: ConvolutionShape) -> bool:
    return (
        shape.dtype == "bfloat16"
        and shape.channels % CHANNELS == 0
        and shape.out_channels % CHANNELS == 0
        and shape.stride <= MOST_STRIDE
    )


def _all_fits_tiles(shape: ConvolutionShape) -> bool:
    size = (shape.channels, shape.out_channels, shape.height, shape.width)
    return (
        not shape.bias
        and _weights_fit_tiles(shape)
        and fits(*size, kernel=shape.kernel, stride=shape.stride)
    )


def _fits_winograd(shape: ConvolutionShape) -> bool:
    return (
        shape.kernel == 3
        and shape.stride == 1
        and min(shape.height, shape.width) + 2 * shape.padding >= shape.kernel
        and not shape.bias
        and shape.channels % CHANNELS == 0
        and shape.out_channels % CHANNELS == 0
    )


def _fits_direct(shape: ConvolutionShape) -> bool:
    library = load_library()
    multiplies = library is not None and library.level_name == "avx512-bf16"
    return (
        (multiplies or shape.dtype == "float32")
        and min(shape.height, shape.width) + 2 * shape.padding >= shape.kernel
        and not shape.bias
        and shape.kernel <= MOST_KERNEL
        and shape.stride <= MOST_CONVOLVED_STRIDE
        and shape.channels % CHANNELS == 0
        and shape.out_channels % CHANNELS == 0
    )


def _has_winograd_4(dtype: DTypeName) -> bool:
    library = load_library()
    return dtype == "float32" or (library is not None and library.level_name == "avx512-bf16")


def _cost_of_torch(_: ConvolutionShape) -> float:
    library = load_library()
    return 4.5 if library is not None and library.has_tiles else 3.2


def _winograd_cost(
    shape: ConvolutionShape, outputs: int, product: float, transform: float
) -> float:
    """Returns the cost of F(m×m, 3×3), for m = `outputs`.

    Tiles cover more than the result; products are made for each pair of channels, transforms for
    each channel.
    """
    sides = (side + 2 * shape.padding - 2 for side in (shape.height, shape.width))
    cover = math.prod(math.ceil(side / outputs) * outputs / side for side in sides)
    return 3 * cover * (product + transform * (1 / shape.channels + 1 / shape.out_channels))


def _cost_of_direct(shape: ConvolutionShape) -> float:
    if shape.stride == 1:
        return 3.3  # oneDNN's products run nearer to the peak there
    # Each product of a kernel of one position is written and read for itself.
    few = 1 / shape.channels + 1 / shape.out_channels
    return 2.7 + 8 * few / shape.kernel**2


def _cost_of_winograd_2(shape: ConvolutionShape) -> float:
    return _winograd_cost(shape, 2, 0.5, 5.2)


def _cost_of_winograd_4(shape: ConvolutionShape) -> float:
    # Kernels of 36 components take longer to make, and to read, than of 16: as much as products of
    # so many positions. By a batch of 64.
    kernels = 23 / (shape.height * shape.width)
    return _winograd_cost(shape, 4, 0.33, 3.9) + kernels


# oneDNN's weight gradient takes 2.5 forward passes on processors with AMX, that of tiles 1.2; tiles
# gain a fifth on the other two (docs/speed.md).
ALGORITHMS: Mapping[Algorithm, AlgorithmRow] = {
    "tiles": AlgorithmRow(
        summary="products of AMX tiles",
        levels=_AMX,
        fits=_all_fits_tiles,
        cost=lambda _: 2.8,
        whole=True,
    ),
    "tiles-weights": AlgorithmRow(
        summary="the weight gradient by AMX tiles, the rest by torch",
        levels=_AMX,
        fits=_weights_fit_tiles,
        cost=lambda _: 3.2,
    ),
    "winograd-2": AlgorithmRow(
        summary="Winograd's F(2×2, 3×3), products in bfloat16",
        levels=("avx512-bf16",),
        fits=lambda shape: shape.dtype == "bfloat16" and _fits_winograd(shape),
        cost=_cost_of_winograd_2,
        whole=True,
    ),
    "winograd-4": AlgorithmRow(
        summary="Winograd's F(4×4, 3×3)",
        levels=("base", "avx2", "avx512", "avx512-bf16", "amx"),
        fits=lambda shape: _fits_winograd(shape) and _has_winograd_4(shape.dtype),
        cost=_cost_of_winograd_4,
        whole=True,
    ),
    "direct": AlgorithmRow(
        summary="products of vectors, for any stride",
        levels=("base", "avx2", "avx512", "avx512-bf16"),
        fits=_fits_direct,
        cost=_cost_of_direct,
        whole=True,
    ),
    "torch": AlgorithmRow(
        summary="torch's convolution", levels=(), fits=lambda _: True, cost=_cost_of_torch
    ),
}


def candidates(shape: ConvolutionShape) -> tuple[Algorithm, ...]:
    """Returns what can run a shape here, at most two, the best guess first."""
    library = load_library()
    return _candidates(shape, None if library is None else library.level_name)


@lru_cache(maxsize=4096)
def _candidates(shape: ConvolutionShape, level: str | None) -> tuple[Algorithm, ...]:
    able = [name for name in ALGORITHMS if _runs_at(level, name) and ALGORITHMS[name].fits(shape)]
    costs = {name: ALGORITHMS[name].cost(shape) for name in able}
    return tuple(sorted(able, key=costs.__getitem__)[:_MOST_CANDIDATES])


def can_run(algorithm: Algorithm, shape: ConvolutionShape) -> bool:
    """Returns whether this machine's library has an algorithm for a shape."""
    library = load_library()
    level = None if library is None else library.level_name
    return _runs_at(level, algorithm) and ALGORITHMS[algorithm].fits(shape)


def _runs_at(level: str | None, algorithm: Algorithm) -> bool:
    row = ALGORITHMS[algorithm]
    assert set(row.levels) <= set(LEVELS)
    return not row.levels or level in row.levels


def has_choice() -> bool:
    """Returns whether any algorithm besides torch's can run here; a compiled graph asks once."""
    library = load_library()
    return _has_choice_at(None if library is None else library.level_name)


@lru_cache
def _has_choice_at(level: str | None) -> bool:
    return any(_runs_at(level, name) for name in ALGORITHMS if name != "torch")


# As in library_inputs.py.
has_choice._dynamo_marked_constant = True  # type: ignore[attr-defined]


def algorithm_named(name: str) -> Algorithm:
    """Returns the algorithm of this name, which a custom operator passes as a word.

    Raises:
        KeyError: there is none.
    """
    found: dict[str, Algorithm] = {known: known for known in ALGORITHMS}
    return found[name]


def number_in_library(algorithm: Algorithm) -> int:
    """Returns the number of an algorithm in c/convolve.h; 0 for tiles, whole or weights alone."""
    return {"direct": 1, "winograd-2": 2, "winograd-4": 4}.get(algorithm, 0)


def is_whole(algorithm: Algorithm) -> bool:
    """Returns whether all three passes are the algorithm's own, and norms fuse into it."""
    return ALGORITHMS[algorithm].whole
