"""The control groups that limit this process: of a container or a scheduler, both versions."""

from collections.abc import Iterator
from pathlib import Path


def control_groups(controller: str, root: Path) -> Iterator[tuple[Path, bool]]:
    """Yields the folder of each group that this process is in, the groups above it after it.

    With each goes whether it is of version 1. A container sees its own group at the top, under
    whatever name the host has for it; a job of a scheduler is some groups below the top.

    Args:
        controller: such as cpu or memory.
        root: of the file system, other than `/` in tests.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if controllers else "")
        for group in (base / path.strip("/"), *(base / path.strip("/")).parents):
            if not group.is_relative_to(base):
                break
            yield group, bool(controllers)
