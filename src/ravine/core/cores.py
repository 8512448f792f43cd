"""How many cores this process may use: by affinity and by the quota of its control groups."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ravine.core.control_groups import control_groups

# What gives the libraries of a new process their threads.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def usable_cores(root: Path = Path("/")) -> int:
    """Returns the cores that this process may keep busy, at least 1.

    They are those of its affinity, or fewer where a control group (a container, say) has a quota
    of processor time: half a core counts as one, one and a half as two.

    Args:
        root: of the file system, other than `/` in tests.
    """
    quota = cores_in_quota(root)
    return _cores_in_affinity() if quota is None else min(_cores_in_affinity(), math.ceil(quota))


def describe_cores(threads: int, *, asked: int) -> str:
    """Returns a line about threads that the cores do not allow or that they limit; else nothing.

    Args:
        threads: that run.
        asked: by a setting or OMP_NUM_THREADS; 0 for nothing.
    """
    cores, quota, machine = _cores_in_affinity(), cores_in_quota(), os.cpu_count() or 1
    limits = []
    if cores < machine:
        limits.append(f"this process may use {cores} of {machine} cores")
    if quota is not None and quota < cores:
        limits.append(f"its control group has processor time for {quota:g}")
    if asked > usable_cores():
        limits.append(f"{asked} were asked for, more than the cores ({usable_cores()})")
    if not limits:
        return ""
    return f"{threads} thread{'s' if threads > 1 else ''}: {', '.join(limits)}"


def threads_of_openmp() -> int:
    """Returns what OMP_NUM_THREADS asks for; 0 where it asks for nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() else 0


def cores_in_quota(root: Path = Path("/")) -> float | None:
    """Returns the cores' worth of time that control groups (v2 or v1) allow; None without limit.

    Args:
        root: of the file system, other than `/` in tests.
    """
    return min(_quotas(root), default=None)


def _cores_in_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yields the limit of each control group that this process is in, and of those above it."""
    for group, is_first in control_groups("cpu", root):
        with suppress(OSError, ValueError, ZeroDivisionError):
            yield from _quota_of(group, is_first=is_first)


def _quota_of(group: Path, *, is_first: bool) -> Iterator[float]:
    """Yields the limit of one group; `is_first` for version 1 of control groups."""
    if is_first:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    else:
        allowed, length = (group / "cpu.max").read_text().split()
        quota, period = (-1 if allowed == "max" else int(allowed)), int(length)
    if quota > 0:
        yield quota / period
