"""Streaming: images decoded per second, and the cost for a training run.

    python bench/input.py [--data SHARDS] [--images 3000] [--model wrn-10-1] [--seconds 20]

Without data JPEGs of 500×375 are made from the sample that ships with Ravine, enlarged, coloured
and with noise, some 50 kB each. First they are decoded to 64 pixels by as many processes as named;
then a network trains on them, streamed and from memory in turns, after steps that use up the images
prefetched during the other's turn. The share of waiting is the share of time in which steps wait
for images.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from results import keep, kept

from ravine.core.cores import usable_cores
from ravine.core.memory import keep_freed_memory
from ravine.data.dataset import Dataset
from ravine.data.location import SAMPLE
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.streaming import Prefetcher
from ravine.schedules import constant
from ravine.training.loop import fit
from ravine.training.plan import Plan
from ravine.workflows.assemble import Assembly, assemble
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

WIDTH, HEIGHT, SIZE, BATCH = 500, 375, 64, 128
WARM = 6  # steps, more than are ever prefetched


def make_photos(root: Path, count: int) -> float:
    """Writes JPEGs into a folder per class and returns their mean kilobytes."""
    sample = open_dataset(DataSettings(data=SAMPLE), seed=0)
    rng = np.random.default_rng(0)
    total = 0
    for number in range(count):
        picture = Image.fromarray(np.asarray(sample.images[number])[:, :, 0])
        grey = np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
        coloured = grey[..., None] * rng.uniform(0.5, 1.0, 3)
        noisy = coloured + rng.normal(0, 16, (HEIGHT, WIDTH, 3))
        folder = root / sample.classes[sample.labels[number]].replace("/", " or ")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number:05d}.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=85)
        total += path.stat().st_size
    return total / count / 1000


def opened(root: Path, stream: str, workers: int | None) -> Dataset:
    settings = DataSettings.of(
        {"data": str(root), "image_size": SIZE, "stream": stream, "workers": workers}
    )
    return open_dataset(settings, seed=0)


def decoded_per_second(root: Path, workers: int, seconds: float) -> float:
    """Returns the images per second of the worker processes alone, read in batches."""
    dataset = opened(root, "on", workers)
    index = dataset.splits["train"]
    whole = len(index) // BATCH

    def index_at(step: int) -> np.ndarray:
        return index[step % whole * BATCH :][:BATCH]

    prefetcher = Prefetcher(dataset.images)
    for step in range(WARM):
        prefetcher.images_at(step, index_at)
    start, step = time.perf_counter(), WARM
    while time.perf_counter() - start < seconds:
        prefetcher.images_at(step, index_at)
        step += 1
    return (step - WARM) * BATCH / (time.perf_counter() - start)


class Timed:
    """A run, and the time that its steps waited for images."""

    def __init__(self, root: Path, model: str, stream: str, workers: int | None) -> None:
        dataset = opened(root, stream, workers)
        recipe = Recipe(
            data=str(root), model=model, epochs=1000.0, lr=0.01, batch=BATCH, device="cpu"
        )
        self.assembly: Assembly = assemble(recipe, dataset, Session(), plan=None)
        self.waited = 0.0
        decode = self.assembly.training.batches._pixels

        def pixels(*args: object, **named: object) -> torch.Tensor:
            start = time.perf_counter()
            found = decode(*args, **named)  # type: ignore[arg-type]
            self.waited += time.perf_counter() - start
            return found

        self.assembly.training.batches._pixels = pixels  # type: ignore[method-assign]

    def advance(self, steps: int) -> float:
        """Trains `steps` more steps, in the loop of `ravine train`, and returns the seconds."""
        start, assembly = time.perf_counter(), self.assembly
        plan = Plan(total_steps=assembly.state.step + steps, steps_per_epoch=10**6)
        fit(replace(assembly.training, schedules={"lr": constant}, validate=None), plan)
        return time.perf_counter() - start


def train_in_turns(root: Path, arguments: argparse.Namespace) -> dict[str, object]:
    runs = {
        "streamed": Timed(root, arguments.model, "on", arguments.workers),
        "in memory": Timed(root, arguments.model, "off", None),
    }
    runs["in memory"].advance(WARM)
    steps = max(WARM, round(arguments.seconds * WARM / runs["in memory"].advance(WARM)))
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    waits: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            run.advance(WARM)
            run.waited = 0.0
            taken = run.advance(steps)
            speeds[name].append(steps * BATCH / taken)
            waits[name].append(run.waited / taken)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    return {
        "images_per_s": medians,
        "all_turns": speeds,
        "ratio": medians["streamed"] / medians["in memory"],
        "share_of_waiting": {name: statistics.median(values) for name, values in waits.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="JPEGs of your own, such as tar shards")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--model", default="wrn-10-1")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, help="while training; by default Ravine's choice")
    arguments = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RAVINE_CACHE"] = str(Path(folder) / "cache")
        root = arguments.data or Path(folder) / "photos"
        made = {} if arguments.data else {"jpeg_kb": make_photos(root, arguments.images)}
        figures = {
            **made,
            "decoded_per_s": {
                f"{workers} processes" if workers else "in the process itself": decoded_per_second(
                    root, workers, arguments.seconds / 2
                )
                for workers in sorted({0, 1, usable_cores()})
            },
            "model": arguments.model,
            "threads": torch.get_num_threads(),
            **train_in_turns(root, arguments),
        }
    kind = arguments.data.name if arguments.data else "photos"
    keep("input", "python bench/input.py", {**kept("input"), kind: figures})


if __name__ == "__main__":
    main()
