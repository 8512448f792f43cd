"""Which tensors the C library can work on, and how they are passed to it.

Images are (B, C, H, W) on the CPU in channels_last without gaps: bfloat16, or float32 outside
autocast.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ravine.kernels.library import Library, load_library


def library_for(x: Tensor) -> Library | None:
    """Returns the library where it can work on images x (B, C, H, W), else None."""
    return load_library() if fits_library(x) else None


def loaded_library() -> Library:
    """Returns the library; for callers that have checked `library_for`."""
    library = load_library()
    assert library is not None
    return library


def fits_library(x: Tensor) -> bool:
    """Returns whether x is such images, (B, C, H, W), and not empty."""
    return (
        x.device.type == "cpu"
        and _fits_type(x.dtype)
        and x.dim() == 4
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _fits_type(dtype: torch.dtype) -> bool:
    """Whether images of this type are taken; under autocast torch picks the type of each layer."""
    if dtype is torch.float32:
        return not torch.is_autocast_enabled("cpu")
    return dtype is torch.bfloat16


def library_is_here() -> bool:
    """Returns whether the C library can be used; a compiled graph asks once, when it is made."""
    return load_library() is not None


# What torch.compiler.assume_constant_result does, without importing the compiler and Triton.
library_is_here._dynamo_marked_constant = True  # type: ignore[attr-defined]


def operations_are_observed() -> bool:
    """Returns whether single operations of torch must run.

    The compiler and torch function modes see them; torch.func's transforms and forward-mode
    differentiation have rules for them only.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_function_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def match_layout(x: Tensor, images: Tensor) -> Tensor:
    """Returns images (B, C, H, W) in the type of x, in channels_last; themselves if they are."""
    return images.to(x.dtype).contiguous(memory_format=torch.channels_last)


def address(tensor: Tensor | None) -> int | None:
    """Returns the address of the first element of a tensor of any shape; None for None."""
    return None if tensor is None else tensor.data_ptr()
