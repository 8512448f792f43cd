"""The stem: how a network takes in images of a size that it was not drawn for."""

_SMALL = 64  # up to here the networks for small images keep their resolution


def small_stem_stride(image_size: int) -> int:
    """Returns the stride of the first convolution of the networks for small images.

    Their papers have 32×32 images and stride 1. Larger images are halved, or quartered from
    128 on, by the first convolution.
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


def describe_stem(family: str, image_size: int) -> str:
    """Returns the sentence about the stem of a family at an image size; may be empty."""
    size = f"{image_size}×{image_size}"
    if family == "alexnet":
        kernel, stride, _ = alexnet_first(image_size)
        return f"stem for {size}: {kernel}×{kernel} convolution, stride {stride}"
    if family == "large":
        if has_small_stem(image_size):
            return f"stem for {size}: 3×3 convolution, stride 1, no pooling"
        return f"stem for {size}: 7×7 convolution, stride 2, then 3×3 pooling, stride 2"
    if family == "small":
        return f"stem for {size}: 3×3 convolution, stride {small_stem_stride(image_size)}"
    return ""
