"""Memory: what there is to have, and what the process has freed and will want again."""

import contextlib
import ctypes
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_NEVER = -1
_LARGEST = 2**31 - 1


def available_memory(root: Path = Path("/")) -> int | None:
    """Returns the bytes that can be had without swapping, or None where nothing tells.

    On Linux this is what the kernel estimates, within the limit of the container (cgroup v2).

    Args:
        root: of the system, other than `/` in tests.
    """
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        found.append(int(facts["MemAvailable"].split()[0]) * 1024)
    with contextlib.suppress(OSError, ValueError, KeyError):
        group = root / "sys/fs/cgroup"
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        used = int((group / "memory.current").read_text())
        rows = (group / "memory.stat").read_text().splitlines()
        freeable = int(dict(row.split() for row in rows)["inactive_file"])
        found.append(max(0, limit - used + freeable))
    return min(found, default=None)


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
