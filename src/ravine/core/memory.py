"""Memory that the process has freed and will want again."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_NEVER = -1
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process, where the C library is glibc; returns whether it does.

    Without this, the activations of every training step are given back to the system and
    asked for again, each page with a fault of its own: 6 % of a step of wrn-16-4.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # As both thresholds are named, glibc no longer moves them by itself.
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
