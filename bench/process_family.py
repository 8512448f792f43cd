"""A process and all that descend from it, and the processor time that they have used (Linux)."""

import contextlib
import os
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """Returns the seconds of the processor of a process and those that it started."""
    seconds = 0.0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
            # Its own, and of children that have ended.
            seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return seconds


def family(pid: int) -> list[int]:
    """Returns a process and all that descend from it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found
