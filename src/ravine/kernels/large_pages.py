"""Memory for what is read from its beginning to its end, again and again: packed weights.

A processor looks up where each page of 4 kB lies. Where the system gives pages of 2 MB to who asks,
a linear layer's weights are read up to twice as fast from them.
"""

import mmap
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

_LARGE = 2 << 20  # bytes of a page
_ASK: Any = getattr(mmap, "MADV_HUGEPAGE", None)  # None: not Linux


def in_large_pages(size: int) -> Tensor:
    """Returns memory (size,) uint8 from a line of the cache on; in large pages where it is large.

    Args:
        size: bytes, at least 1.
    """
    if _ASK is None or size < _LARGE:
        return torch.empty(size, dtype=torch.uint8)
    pages = -(-size // _LARGE) * _LARGE
    mapped = mmap.mmap(-1, pages + _LARGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # of a kernel built without them
        mapped.madvise(_ASK)
    found = torch.frombuffer(mapped, dtype=torch.uint8)
    start = -found.data_ptr() % _LARGE
    return found[start : start + size]
