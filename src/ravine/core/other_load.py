"""How busy other processes keep the cores that this one may use."""

import os
import time
from pathlib import Path
from typing import final

_BUSY = (0, 1, 2, 5, 6, 7)  # of a line of /proc/stat: user, nice, system, irq, softirq, steal


@final
class OtherLoad:
    """Measures, from call to call, how many cores other processes keep busy.

    Args:
        root: of the file system, other than `/` in tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._file = root / "proc/stat"
        self._before = self._now()

    @property
    def is_known(self) -> bool:
        """Whether the system tells; Linux does."""
        return self._before is not None

    def cores(self) -> float:
        """Returns the cores' worth of time that others took since the last call, or 0.

        Of the cores of this process's affinity; what a hypervisor gives to others is counted too.
        """
        before, now = self._before, self._now()
        self._before = now
        if before is None or now is None or now[0] <= before[0]:
            return 0.0
        wall, all_of_them, own = (after - was for was, after in zip(before, now, strict=True))
        return max(0.0, (all_of_them - own) / wall)

    def _now(self) -> tuple[float, float, float] | None:
        """Returns seconds of the clock, of all processes on these cores, and of this process."""
        try:
            lines = self._file.read_text().splitlines()
            cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
            ticks = os.sysconf("SC_CLK_TCK")
        except (OSError, AttributeError):
            return None
        rows = [line.split() for line in lines if line.startswith("cpu")]
        found = [row[1:] for row in rows if row[0] in cores]
        if not found:
            return None
        used = sum(int(row[n]) for row in found for n in _BUSY if n < len(row))
        return time.monotonic(), used / ticks, time.process_time()
