"""The processor of this machine: its name, and the size of its second cache."""

import os
import platform
from functools import cache
from pathlib import Path

_L2 = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
_FACTORS = {"K": 1 << 10, "M": 1 << 20}


@cache
def processor_name() -> str:
    """Returns the processor's name, as its maker writes it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def l2_bytes() -> int:
    """Returns the size of a core's second cache in bytes; 0 where the system does not say."""
    name = "SC_LEVEL2_CACHE_SIZE"
    if name in getattr(os, "sysconf_names", {}) and (size := os.sysconf(name)) > 0:
        return size
    try:
        text = _L2.read_text().strip()
        return int(text[:-1]) * _FACTORS[text[-1]]
    except (OSError, ValueError, KeyError, IndexError):
        return 0
