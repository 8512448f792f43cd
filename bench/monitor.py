"""What the monitor costs beside training, at the share that `ravine train` gives it.

    python bench/monitor.py [--model wrn-16-4] [--seconds 150] [--share 0.02]

Blocks of steps with the monitor and without take turns in one process on one network; the ratio
is of the sums of all blocks' times. The clock decides when a snapshot is taken, as in a run, so
that it takes minutes until their share is settled. Also reported: the cost by the monitor's own
clock, and the memory of the process after the first blocks and at the end.
"""

import argparse
import resource
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

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

BLOCK = 40  # steps


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="wrn-16-4")
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--share", type=float, default=Recipe().monitor)
    asked = parser.parse_args()
    if DEVICE.type == "cpu":
        keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        assembly = prepared(asked.model, folder)
        called = assembly.training.forward
        assert isinstance(called, torch.nn.Module)
        path = folder / "layers.jsonl"
        monitor = Monitor(called, assembly.state.transaction, path=path, share=asked.share)
        block(assembly, 5)
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
        snapshots = read_layers(path).snapshots
    sums = {name: sum(found) for name, found in seconds.items()}
    pairs = [a / b for a, b in zip(seconds["with"], seconds["without"], strict=True)]
    keep(
        "monitor",
        f"python bench/monitor.py --model {asked.model} --seconds {asked.seconds:g}",
        {
            "model": asked.model,
            "share allowed": asked.share,
            "time with over time without": sums["with"] / sums["without"],
            "median of pairs": statistics.median(pairs),
            "error of the mean of pairs": statistics.stdev(pairs) / len(pairs) ** 0.5,
            "by its own clock": monitor.overhead,
            "steps with": BLOCK * len(pairs),
            "looks": len(snapshots),
            "memory, MB": {"after the first blocks": memory[0], "at the end": memory[-1]},
        },
    )


if __name__ == "__main__":
    main()
