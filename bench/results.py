"""Where results go: one JSON file per benchmark, with the machine that they were had on."""

import json
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import torch

from ravine.ops.kernel_plan import MachineKind

RESULTS = Path(__file__).parent / "results"


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def machine() -> dict[str, Any]:
    """Returns what the figures were measured on."""
    kind = MachineKind.here()
    return {
        "processor": kind.processor,
        "generation": generation(),
        "cores": len(os.sched_getaffinity(0)),
        "l2_bytes": kind.l2_bytes,
        "level": kind.level,
        "torch": kind.torch,
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "huge_pages": HUGE_PAGES.read_text().strip() if HUGE_PAGES.exists() else "unknown",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def generation() -> str:
    """Returns the microarchitecture of an AMD processor, by family and model; else nothing."""
    facts = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    if facts.get("vendor_id") != "AuthenticAMD":
        return ""
    family, model = int(facts["cpu family"]), int(facts["model"])
    if family == 25:
        return "zen4" if 0x10 <= model <= 0x1F or model >= 0x60 else "zen3"
    return {23: "zen2", 26: "zen5"}.get(family, "")


def processor_kind() -> str:
    """Returns processor and level as part of a file's name: `amd-epyc-zen4-avx512-bf16`."""
    kind = MachineKind.here()
    name = re.sub(r"\((r|tm)\)|processor|cpu|@.*", " ", kind.processor.lower())
    words = [*re.findall(r"[a-z0-9.]+", name), generation(), kind.level]
    return "-".join(word for word in words if word)


def keep(name: str, command: str, figures: dict[str, Any], *, show: bool = True) -> None:
    """Writes the figures of one benchmark, whole or not at all, and prints them."""
    RESULTS.mkdir(exist_ok=True)
    whole = {"command": command, "machine": machine(), "figures": figures}
    unfinished = RESULTS / f"{name}.json.unfinished"
    unfinished.write_text(json.dumps(whole, indent=2) + "\n")
    unfinished.rename(RESULTS / f"{name}.json")
    if not show:
        return
    print(f"== {name}: {command}")
    for key, value in figures.items():
        print(f"   {key}: {value}")


def kept(name: str) -> dict[str, Any]:
    """Returns the figures of one benchmark that were kept last, none before the first."""
    path = RESULTS / f"{name}.json"
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    return figures


def kept_machine(name: str) -> str:
    """Returns the machine of the figures that were kept last, in a few words."""
    found = json.loads((RESULTS / f"{name}.json").read_text())["machine"]
    return f"{found['processor']}, {found['cores']} cores, torch {found['torch']}, {found['date']}"
