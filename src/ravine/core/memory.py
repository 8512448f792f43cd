"""Available memory, and reuse of memory that the process has freed."""

import contextlib
import ctypes
import sys
from pathlib import Path

from ravine.core.control_groups import control_groups
from ravine.core.lazy import lazy_module

resource = lazy_module("resource")  # Windows has none

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_NEVER = -1
_NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory")
_LARGEST = 2**31 - 1


def available_memory(root: Path = Path("/")) -> int | None:
    """Returns the bytes available without swapping, or None where the system does not report them.

    On Linux this is the kernel's estimate, or less where a control group (a container's, or a
    scheduler's for a job) has a limit.

    Args:
        root: of the file system, other than `/` in tests.
    """
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        found.append(int(facts["MemAvailable"].split()[0]) * 1024)
    for group, is_first in control_groups("memory", root):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found.append(_left_to(group, is_first=is_first))
    if root == Path("/") and (left := _address_space_left()) is not None:
        found.append(left)
    return min(found, default=None)


def _left_to(group: Path, *, is_first: bool) -> int:
    """Returns what a control group may still take; `is_first` for version 1 of control groups.

    Pages of files that nobody has used of late are free: the kernel drops them first.
    """
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit, used, freeable = names if is_first else ("memory.max", "memory.current", "inactive_file")
    most = int((group / limit).read_text())  # "max" where there is none
    taken = int((group / used).read_text())
    rows = (group / "memory.stat").read_text().splitlines()
    return max(0, most - taken + int(dict(row.split() for row in rows)[freeable]))


def _address_space_left() -> int | None:
    """Returns what `ulimit -v` leaves to this process, None where there is no limit."""
    if sys.platform == "win32":
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return max(0, limit - pages * resource.getpagesize())
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory could not be allocated."""
    torch = sys.modules.get("torch")  # where it is not loaded, the error is not of its kind
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process, where the C library is glibc; returns whether it does.

    Without this, glibc returns the activations of every training step to the system and
    requests them again, with a page fault for each page: 6 % of a step of wrn-16-4.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # With both thresholds set, glibc no longer adapts them.
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
