"""The environment of a run: versions, processor, device, the commit of the working folder."""

import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import torch

from ravine.core.processor import processor_name


def describe_environment(device: torch.device, *, precision: str, threads: int) -> dict[str, Any]:
    """Returns what environment.json holds about software and machine, as plain values."""
    return {
        "ravine": version("ravine"),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "system": platform.platform(),
        "processor": processor_name(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": threads,
        "precision": precision,
        "commit": _commit(),
    }


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
