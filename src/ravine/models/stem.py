"""The stem: the first layers of a network at image sizes other than its paper's.

Image sizes are pixels a side, S in (B, C, S, S).
"""

_SMALL = 64  # up to here the networks for small images keep their resolution


def small_stem_stride(image_size: int) -> int:
    """Returns the stride of the first convolution of the networks for small images.

    Their papers have 32×32 images and stride 1. The first convolution halves larger images, and
    quarters them from 128 on.
    """
    if image_size <= _SMALL:
        return 1
    return 2 if image_size < 2 * _SMALL else 4


def has_small_stem(image_size: int) -> bool:
    """Returns whether a network for large images takes its small stem: 3×3, no pooling."""
    return image_size <= _SMALL


def alexnet_first(image_size: int) -> tuple[int, int, int]:
    """Returns kernel, stride and padding of AlexNet's first convolution."""
    if image_size >= 160:
        return 11, 4, 2
    return (7, 2, 3) if image_size >= 64 else (5, 1, 2)


def alexnet_stem(image_size: int) -> str:
    """Returns the sentence about AlexNet's stem at an image size."""
    kernel, stride, _ = alexnet_first(image_size)
    return f"{_for(image_size)} {kernel}×{kernel} convolution, stride {stride}"


def large_stem(image_size: int) -> str:
    """Returns the sentence about the stem of networks for large images at an image size."""
    if has_small_stem(image_size):
        return f"{_for(image_size)} 3×3 convolution, stride 1, no pooling"
    return f"{_for(image_size)} 7×7 convolution, stride 2, then 3×3 pooling, stride 2"


def small_stem(image_size: int) -> str:
    """Returns the sentence about the stem of networks for small images at an image size."""
    return f"{_for(image_size)} 3×3 convolution, stride {small_stem_stride(image_size)}"


def _for(image_size: int) -> str:
    return f"stem for {image_size}×{image_size}:"
