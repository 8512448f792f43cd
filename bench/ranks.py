"""Two processes of one thread against one process of two threads: the loop of `ravine train`.

    python bench/ranks.py [--model wrn-16-4] [--seconds 10] [--rounds 5]

The runs take turns, each in fresh processes; the figure is the ratio of the medians. Order,
augmentation, step, history and the signals between processes are in it; validation is not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from results import keep

from ravine.core.events import ignore
from ravine.core.launch import exit_process
from ravine.core.memory import keep_freed_memory
from ravine.core.ranks import Ranks, join_ranks
from ravine.data.opening import open_dataset
from ravine.schedules import constant
from ravine.training.loop import fit
from ravine.training.plan import Plan
from ravine.training.recorder import Recorder
from ravine.workflows.assemble import Assembly, assemble
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

IMAGES, CLASSES, SIZE, WARM = 1024, 10, 32, 3
KINDS = {"one process": (1, 2), "two processes": (2, 1)}  # processes, threads of each


def write_images(path: Path) -> None:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(IMAGES) % CLASSES)


def advance(assembly: Assembly, ranks: Ranks, steps: int, place: Path) -> None:
    """Trains so many steps more, in the loop of `ravine train`."""
    end = assembly.training.state.step + steps
    recorder = Recorder(path=place / "history.jsonl", steps_per_epoch=10**6)
    plan = Plan(total_steps=end, steps_per_epoch=10**6)
    training = replace(assembly.training, schedules={"lr": constant}, validate=None)
    fit(training, plan, emit=recorder if ranks.is_main else ignore)


def measure(place: Path, model: str, batch: int, threads: int, seconds: float) -> None:
    """Prints, from the process that leads, the images per second of all."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    ranks = join_ranks()
    recipe = Recipe(
        data=str(place / "data.npz"),
        model=model,
        epochs=1000.0,
        lr=0.01,
        batch=batch,
        cache=False,
        device="cpu",
        threads=threads,
    )
    dataset = open_dataset(recipe, seed=0)
    assembly = assemble(recipe, dataset, Session(ranks=ranks), plan=None)
    advance(assembly, ranks, WARM, place)
    start = time.perf_counter()
    advance(assembly, ranks, 1, place)
    (a_step,) = ranks.broadcast(time.perf_counter() - start)
    steps = max(2, round(seconds / a_step))
    start = time.perf_counter()
    advance(assembly, ranks, steps, place)
    ranks.barrier()
    if ranks.is_main:
        print(json.dumps(steps * batch / (time.perf_counter() - start)))
    exit_process(0)


def run(kind: str, place: Path, asked: argparse.Namespace) -> float:
    processes, threads = KINDS[kind]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), __file__]
    command += ["--place", str(place), "--threads", str(threads), "--model", asked.model]
    command += ["--batch", str(asked.batch), "--seconds", str(asked.seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="wrn-16-4")
    parser.add_argument("--batch", type=int, default=128, help="images of all processes")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.place:
        measure(asked.place, asked.model, asked.batch, asked.threads, asked.seconds)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "data.npz")
        for _ in range(asked.rounds):
            for kind, speeds in found.items():
                speeds.append(run(kind, Path(folder), asked))
    medians = {kind: statistics.median(speeds) for kind, speeds in found.items()}
    figures = {
        "model": asked.model,
        "batch": asked.batch,
        "images_per_s": medians,
        "all_runs": found,
        "ratio": medians["two processes"] / medians["one process"],
    }
    keep("ranks", "python " + " ".join(["bench/ranks.py", *sys.argv[1:]]), figures)


if __name__ == "__main__":
    main()
