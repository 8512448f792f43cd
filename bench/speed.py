"""How fast this machine could train, and how fast it does: `make bench`, under 15 minutes.

    python bench/speed.py [--only wrn-16-4] [--no-compile]

First the machine's limits: matrix products, convolutions forward, copying. Then for each
network, in a process of its own (bench/network.py): the plain loop of a tutorial, the loop that
an expert would write with the best flags of torch (eager, and compiled), and Ravine's whole
loop, round by round in turn. The share is of the convolution rate: three times the forward
pass's operations, for forward, gradient of images and gradient of weights.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from network import DEVICE, PRECISION
from results import keep

from ravine.training.speed import wait_for

# Name, pixels a side, channels, batch, seconds of measurement.
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
CONVOLUTIONS = ((64, 28), (128, 14), (256, 7), (256, 16))  # channels, pixels a side
HERE = Path(__file__).parent


def rate(work: float, run: Callable[[], object], *, times: int = 9) -> float:
    """Returns work per second, by the median."""
    run(), run()
    wait_for(DEVICE)
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        wait_for(DEVICE)
        found.append(time.perf_counter() - start)
    return work / statistics.median(found)


@torch.no_grad()
def limits() -> dict[str, float]:
    """Returns matrix and convolution rates (10¹² operations/s) and copy bandwidth (GB/s)."""
    n = 2048 if DEVICE.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=DEVICE, dtype=PRECISION) for _ in range(2))
    found = {"matrix product, TFLOP/s": rate(2 * n**3 / 1e12, lambda: a @ b)}
    batch = 128 if DEVICE.type == "cpu" else 1024
    fastest = 0.0
    for channels, size in CONVOLUTIONS:
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        layer = layer.to(DEVICE, PRECISION).to(memory_format=torch.channels_last)
        x = torch.randn(batch, channels, size, size, device=DEVICE, dtype=PRECISION)
        x = x.contiguous(memory_format=torch.channels_last)
        work = 2 * batch * size**2 * channels**2 * 9 / 1e12
        fastest = max(fastest, rate(work, lambda layer=layer, x=x: layer(x)))
    found["convolution forward, TFLOP/s"] = fastest
    source = torch.randn(64 * 2**20, device=DEVICE)
    target = torch.empty_like(source)
    found["copy (read and write), GB/s"] = rate(
        2 * source.numel() * 4 / 1e9, lambda: target.copy_(source)
    )
    return found


def row(network: tuple[str, int, int, int, int], *options: str) -> dict[str, Any]:
    name, size, channels, batch, seconds = network
    told = subprocess.run(
        [sys.executable, str(HERE / "network.py"), name, str(size), str(channels), str(batch),
         "--seconds", str(seconds), *options],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(told.stdout.splitlines()[-1])


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="one network")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    asked = parser.parse_args()
    before = time.monotonic()
    figures: dict[str, Any] = {k: round(v, 2) for k, v in limits().items()}
    peak = figures["convolution forward, TFLOP/s"]
    table = []
    for network in NETWORKS:
        if asked.only not in (None, network[0]):
            continue
        found = row(network, *([] if asked.no_compile else ["--compile"]))
        speed = found["images_per_s"]
        best = max(speed["flags"], speed.get("compiled", 0.0))
        table.append(
            {
                "network": f"{network[0]} at {network[1]}×{network[1]}×{network[2]}",
                "batch": network[3],
                **{name: round(value, 1) for name, value in speed.items()},
                "ravine / plain": round(speed["ravine"] / speed["plain"], 2),
                "ravine / best flags": round(speed["ravine"] / best, 2),
                "ravine / own bare step": round(
                    speed["ravine"] / speed["ravine's own bare step"], 3
                ),
                "share of the convolution rate": round(
                    speed["ravine"] * 6 * found["multiply_adds"] / 1e12 / peak, 3
                ),
                "evaluated images/s": round(found["evaluated_per_s"]),
                "first step, s": round(found["first_step_s"], 2),
                "memory, MB": round(found["memory_MB"]),
            }
        )
        print(table[-1], flush=True)
    figures["images/s"] = table
    if asked.only is None:
        figures["forward and backward, images/s"] = {
            network[0]: round(row(network, "--passes")["images_per_s"]["ravine"], 1)
            for network in LECTURE
        }
        figures["ravine train, start to first step, s"] = round(start_to_first_step(), 2)
    figures["minutes"] = round((time.monotonic() - before) / 60, 1)
    name = "speed" if asked.only is None else f"speed-{asked.only}"
    keep(
        name, "make bench" if asked.only is None else f"bench/speed.py --only {asked.only}", figures
    )


if __name__ == "__main__":
    main()
