"""How fast this machine could train, and how fast it does: `make bench`, under 15 minutes.

    python bench/speed.py [--only wrn-16-4,resnet-18] [--no-compile] [--level avx2] [--python PATH]

First the machine's limits: matrix products, convolutions forward, copying. Then for each
network, in a process of its own (bench/network.py): the plain loop of a tutorial, the loop that
an expert would write with the best flags of torch (eager, and compiled), and Ravine's whole
loop, round by round in turn, all with huge pages (THP_MEM_ALLOC_ENABLE=1), as `ravine train` has
them. The best flags once more with the torch of another Python (`--python`, bench/flags.py). The
share is of the convolution rate: three times the forward pass's operations, for forward, input
gradient and weight gradient.

`--level` holds Ravine and torch down to the instructions of a level. The results lie in
results/speed-PROCESSOR-LEVEL.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from network import DEVICE, PRECISION
from results import keep, kept, processor_kind

from ravine.training.machine_limits import machine_limits

Network = tuple[str, int, int, int, float]  # name, pixels a side, channels, batch, seconds
NETWORKS = (
    ("swift-1", 32, 3, 256, 12),
    ("wrn-16-2", 28, 1, 128, 20),
    ("wrn-16-4", 28, 1, 128, 40),
    ("wrn-28-10", 32, 3, 32, 60),
    ("resnet-18", 64, 3, 64, 40),
    ("alexnet", 224, 3, 64, 30),
)
# The lecture's comparison, forward and backward alone.
LECTURE = (
    ("preact-1001", 32, 3, 32, 20),
    ("wrn-40-4", 32, 3, 32, 15),
    ("wrn-28-10", 32, 3, 32, 15),
)
LOOPS = ("flags", "compiled")
# What holds torch down to the instructions of a level of Ravine's library.
HELD_DOWN = {
    "base": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx512-bf16": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
}
HERE = Path(__file__).parent


def hold_down(level: str | None) -> None:
    """Starts this command anew with Ravine and torch held down to a level, unless they are."""
    if level is None or os.environ.get("RAVINE_KERNELS") == level:
        return
    os.environ.update({"RAVINE_KERNELS": level, **HELD_DOWN[level]})
    os.execv(sys.executable, [sys.executable, *sys.argv])


def child(
    script: str,
    network: Network,
    *options: str,
    python: str = sys.executable,
    seconds: float | None = None,
    **environment: str,
) -> dict[str, Any]:
    """Returns the line of JSON that a script prints about a network."""
    name, size, channels, batch, whole = network
    told = subprocess.run(
        [python, str(HERE / script), name, str(size), str(channels), str(batch),
         "--seconds", str(seconds or whole), *options],
        stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment},
    )  # fmt: skip
    return json.loads(told.stdout.splitlines()[-1])


def best_flags_of(python: str, network: Network, options: list[str]) -> dict[str, float]:
    """Returns images/s of the best flags under another torch, with huge pages and without."""
    source, found = str(HERE.parent / "src"), {}
    for pages in ("0", "1"):
        other = child(
            "flags.py", network, *options, python=python, seconds=network[4] / 2,
            PYTHONPATH=source, RAVINE_KERNELS="off", THP_MEM_ALLOC_ENABLE=pages,
        )  # fmt: skip
        more = ", huge pages" if pages == "1" else ""
        found |= {
            f"{loop}, torch {other['torch']}{more}": other[loop] for loop in LOOPS if loop in other
        }
    return found


def row(network: Network, options: list[str], python: str | None, peak: float) -> dict[str, Any]:
    """Returns a network's row of the table."""
    found = child("network.py", network, *options, THP_MEM_ALLOC_ENABLE="1")
    speed = found["images_per_s"]
    flags = {loop: speed[loop] for loop in LOOPS if loop in speed}
    if python is not None:
        flags |= best_flags_of(python, network, options)
    best = max(flags, key=lambda name: flags[name])
    # Loops of one process are compared round by round.
    in_turn = found["ravine / best flags"] if best == found["best_flags"] else None
    return {
        "network": f"{network[0]} at {network[1]}×{network[1]}×{network[2]}",
        "batch": network[3],
        **{name: round(value, 1) for name, value in {**speed, **flags}.items()},
        "ravine / plain": round(found["ravine / plain"], 2),
        "ravine / best flags": round(in_turn or speed["ravine"] / flags[best], 2),
        "best flags": best,
        "ravine / own bare step": round(found["own_step"], 3),
        "share of the convolution rate": round(
            speed["ravine"] * 6 * found["multiply_adds"] / 1e12 / peak, 3
        ),
        "evaluated images/s": round(found["evaluated_per_s"]),
        "first step, s": round(found["first_step_s"], 2),
        "memory, MB": round(found["memory_MB"]),
    }


def start_to_first_step() -> float:
    """Returns the seconds from the command `ravine train` to its first epoch of one step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ravine", "train", "@fashion", "--model", "wrn-16-4",
                   "--epochs", "0.01", "--validation", "0", "--json"]  # fmt: skip
        found = []
        for number in range(4):  # the first fills the cache
            start = time.perf_counter()
            with subprocess.Popen(
                [*command, "--out", f"{folder}/{number}"], stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    if json.loads(line)["kind"] == "epoch":
                        found.append(time.perf_counter() - start)
        return statistics.median(found[1:])


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows in the order of NETWORKS, new ones in place of old ones."""
    rows = {row["network"]: row for row in [*old, *new]}
    order = [network[0] for network in NETWORKS]
    return sorted(rows.values(), key=lambda row: order.index(row["network"].split(" at ")[0]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="networks, with commas; the rows of others stay")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    parser.add_argument("--level", choices=HELD_DOWN, help="hold Ravine and torch down to it")
    parser.add_argument("--python", help="a Python with another torch, and Ravine's requirements")
    parser.add_argument("--seconds", type=float, help="for each network, in place of its own")
    asked = parser.parse_args()
    hold_down(asked.level)
    before = time.monotonic()
    figures: dict[str, Any] = {k: round(v, 2) for k, v in machine_limits(DEVICE, PRECISION).items()}
    peak = figures["convolution forward, TFLOP/s"]
    options = [] if asked.no_compile else ["--compile"]
    table = []
    for network in NETWORKS:
        if asked.only is not None and network[0] not in asked.only.split(","):
            continue
        taken = (*network[:4], asked.seconds or network[4])
        table.append(row(taken, options, asked.python, peak))
        print(table[-1], flush=True)
    name = f"speed-{processor_kind()}"
    before_these = kept(name) if asked.only is not None else {}
    figures = {
        **before_these,
        **figures,
        "images/s": merged(before_these.get("images/s", []), table),
    }
    if asked.only is None:
        figures["forward and backward, images/s"] = {
            network[0]: round(child("network.py", network, "--passes")["images_per_s"]["ravine"], 1)
            for network in LECTURE
        }
        figures["ravine train, start to first step, s"] = round(start_to_first_step(), 2)
        figures["minutes"] = round((time.monotonic() - before) / 60, 1)
    keep(name, " ".join(["bench/speed.py", *sys.argv[1:]]), figures)


if __name__ == "__main__":
    main()
