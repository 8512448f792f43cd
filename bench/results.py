"""Where results go: one JSON file per benchmark, with the machine that they were had on."""

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Returns what the figures were measured on."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def keep(name: str, command: str, figures: dict[str, Any]) -> None:
    """Writes the figures of one benchmark and prints them."""
    RESULTS.mkdir(exist_ok=True)
    whole = {"command": command, "machine": machine(), "figures": figures}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")
    print(f"== {name}: {command}")
    for key, value in figures.items():
        print(f"   {key}: {value}")


def kept(name: str) -> dict[str, Any]:
    """Returns the figures of one benchmark that were kept last, none before the first."""
    path = RESULTS / f"{name}.json"
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    return figures
