"""Digests of memory, by which a change of any number is noticed, by address."""

import ctypes
from collections.abc import Sequence

from ravine.kernels.library import Library


class DigestJob(ctypes.Structure):
    """struct digest of c/digest.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("memory", "bytes", "digests")),
        ("count", ctypes.c_int64),
    )


def digests_of(library: Library, pieces: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Returns the digest of each piece of memory.

    Args:
        library: that runs it.
        pieces: address and bytes of each.
    """
    count = len(pieces)
    memory = (ctypes.c_void_p * count)(*(address for address, _ in pieces))
    sizes = (ctypes.c_int64 * count)(*(size for _, size in pieces))
    found = (ctypes.c_uint64 * count)()
    job = DigestJob(
        ctypes.addressof(memory), ctypes.addressof(sizes), ctypes.addressof(found), count
    )
    library.run("ravine_digest", job)
    return tuple(found)
