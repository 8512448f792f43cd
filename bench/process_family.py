"""A process and all that descend from it, and the processor time that they have used (Linux)."""

import contextlib
import os
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """Returns the seconds of the processor of a process and those that it started."""
    return sum(processor_seconds_of(one, with_ended=True) for one in family(pid))


def processor_seconds_of(pid: int, *, with_ended: bool = False) -> float:
    """Returns the seconds of a process, and of its children that have ended; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Returns a process and all that descend from it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found
