"""What the monitor costs beside training, at the share that `ravine train` gives it.

    python bench/monitor.py [--model wrn-16-4] [--measurements 5] [--seconds 150] [--share 0.006]

Blocks of a few steps with the monitor and without take turns in one process on one network; the
ratio is of the sums of all blocks' times. The clock decides when a snapshot is taken, as in a run,
so that it takes minutes until their share is settled. Of several measurements, each with a monitor
of its own, the median is reported, and for all pairs of blocks the 95 % interval of the ratio of
sums (bootstrap: Efron, 1979). Also reported: the cost by the monitor's own clock, and the memory of
the process after the first blocks and at the end.
"""

import argparse
import resource
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import CLASSES, DEVICE
from results import keep

from ravine.core.memory import keep_freed_memory
from ravine.data.opening import open_dataset
from ravine.monitor.monitor import Monitor
from ravine.runs.layers_file import read_layers
from ravine.training.speed import wait_for
from ravine.training.train_step import train_step
from ravine.workflows.assemble import Assembly, assemble
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

BLOCK = 6  # steps: the machine changes its pace within seconds


def prepared(model: str, folder: Path) -> Assembly:
    """Returns a run on 28×28 noise, ready to step."""
    rng = np.random.default_rng(0)
    file = folder / "data.npz"
    images = rng.integers(0, 256, (1024, 28, 28, 1), dtype=np.uint8)
    np.savez(file, images=images, labels=np.arange(len(images)) % CLASSES)
    recipe = Recipe(data=str(file), model=model, epochs=1000.0, lr=0.01, batch=128, cache=False)
    dataset = open_dataset(recipe, seed=0)
    return assemble(recipe, dataset, Session(), plan=None)


def block(assembly: Assembly, steps: int) -> float:
    """Returns the seconds of so many steps."""
    start = time.perf_counter()
    for _ in range(steps):
        batch = assembly.training.batches.batch_at(assembly.state.step)
        train_step(
            assembly.state, assembly.training.forward, batch, settings=assembly.training.step
        )
    wait_for(DEVICE)
    return time.perf_counter() - start


def memory_mb() -> float:
    """Returns the resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(assembly: Assembly, path: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Returns one measurement: seconds of the blocks with the monitor and without, in turn."""
    called = assembly.training.forward
    assert isinstance(called, torch.nn.Module)
    monitor = Monitor(called, assembly.state.transaction, path=path, share=asked.share)
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    memory: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < asked.seconds:
        # Each goes first as often as the other.
        turn = list(seconds) if len(memory) % 2 else list(seconds)[::-1]
        for name in turn:
            with monitor if name == "with" else nullcontext():
                seconds[name].append(block(assembly, BLOCK))
        memory.append(memory_mb())
    return {
        **seconds,
        "ratio": sum(seconds["with"]) / sum(seconds["without"]),
        "by its own clock": monitor.overhead,
        "looks": len(read_layers(path).snapshots),
        "memory, MB": (memory[0], memory[-1]),
    }


def interval(found: list[dict[str, Any]]) -> list[float]:
    """Returns the 95 % interval of the ratio of sums over all pairs of blocks, by bootstrap."""
    pairs = np.array(
        [pair for one in found for pair in zip(one["with"], one["without"], strict=True)]
    )
    drawn = pairs[np.random.default_rng(0).integers(len(pairs), size=(4000, len(pairs)))].sum(1)
    return [round(float(v), 4) for v in np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="wrn-16-4")
    parser.add_argument("--measurements", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=150.0, help="of a measurement")
    parser.add_argument("--share", type=float, default=Recipe().monitor)
    asked = parser.parse_args()
    if DEVICE.type == "cpu":
        keep_freed_memory()
    found = []
    with tempfile.TemporaryDirectory() as place:
        assembly = prepared(asked.model, Path(place))
        block(assembly, 5)
        for number in range(asked.measurements):
            found.append(measure(assembly, Path(place, f"layers-{number}.jsonl"), asked))
            print(f"{found[-1]['ratio']:.4f}, {found[-1]['by its own clock']:.4f}", flush=True)
    keep(
        "monitor",
        f"python bench/monitor.py --model {asked.model} --measurements {asked.measurements} "
        f"--seconds {asked.seconds:g}",
        {
            "model": asked.model,
            "share allowed": asked.share,
            "time with over time without": [round(one["ratio"], 4) for one in found],
            "median": statistics.median(one["ratio"] for one in found),
            "interval of all pairs": interval(found),
            "pairs": sum(len(one["with"]) for one in found),
            "by its own clock": [round(one["by its own clock"], 4) for one in found],
            "looks": [one["looks"] for one in found],
            "memory, MB": {
                "after the first blocks": found[0]["memory, MB"][0],
                "at the end": found[-1]["memory, MB"][1],
            },
        },
    )


if __name__ == "__main__":
    main()
