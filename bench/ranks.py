"""Two processes of one thread against one process of two threads: the loop of `ravine train`.

    python bench/ranks.py [--model wrn-16-4] [--seconds 10] [--rounds 5]

The runs alternate, each in fresh processes; the figure is the ratio of the medians. It covers
order, augmentation, step, history and signals between processes, but not validation.
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

import numpy as np
import torch
from results import keep

from ravine.core.memory import keep_freed_memory
from ravine.core.ranks import exit_process, join_ranks
from ravine.data.opening import open_dataset
from ravine.schedules import constant
from ravine.training.clock import Clock
from ravine.training.loop import Hooks, fit
from ravine.training.plan import Plan
from ravine.training.recorder import Recorder
from ravine.training.stop import StopRequest
from ravine.workflows.assemble import Setup, set_up
from ravine.workflows.recipe import Recipe

IMAGES, CLASSES, SIZE, WARM = 1024, 10, 32, 3
KINDS = {"one process": (1, 2), "two processes": (2, 1)}  # processes, threads of each


def write_images(path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(IMAGES) % CLASSES)


def advance(setup: Setup, steps: int, folder: Path) -> None:
    """Trains `steps` more steps, in the loop of `ravine train`."""
    end = setup.state.step + steps
    is_main = setup.ranks.is_main
    recorder = Recorder(path=folder / "history.jsonl", steps_per_epoch=10**6)
    fit(
        setup.state,
        setup.batches,
        forward=setup.forward,
        rules=setup.rules,
        plan=Plan(total_steps=end, steps_per_epoch=10**6),
        schedules={"lr": constant},
        hooks=Hooks(validate=None, save=lambda _: folder, correct=lambda plan, _: plan),
        observers=[recorder] if is_main else [],
        stop=StopRequest(),
        clock=Clock(),
        checkpoint_every=1e9,
        ranks=setup.ranks,
    )


def measure(folder: Path, model: str, batch: int, threads: int, seconds: float) -> None:
    """Prints, from the process that is_main, the images per second of all."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    ranks = join_ranks()
    recipe = Recipe(
        data=str(folder / "data.npz"),
        model=model,
        epochs=1000.0,
        lr=0.01,
        batch=batch,
        cache=False,
        device="cpu",
        threads=threads,
    )
    dataset = open_dataset(recipe, seed=0)
    setup = set_up(recipe, dataset, plan=None, tell=lambda _: None, clock=Clock(), ranks=ranks)
    advance(setup, WARM, folder)
    start = time.perf_counter()
    advance(setup, 1, folder)
    (a_step,) = ranks.broadcast(time.perf_counter() - start)
    steps = max(2, round(seconds / a_step))
    start = time.perf_counter()
    advance(setup, steps, folder)
    ranks.barrier()
    if ranks.is_main:
        print(json.dumps(steps * batch / (time.perf_counter() - start)))
    exit_process(0)


def run(kind: str, folder: Path, arguments: argparse.Namespace) -> float:
    processes, threads = KINDS[kind]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), __file__]
    command += ["--folder", str(folder), "--threads", str(threads), "--model", arguments.model]
    command += ["--batch", str(arguments.batch), "--seconds", str(arguments.seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="wrn-16-4")
    parser.add_argument("--batch", type=int, default=128, help="images of all processes")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        measure(
            arguments.folder, arguments.model, arguments.batch, arguments.threads, arguments.seconds
        )
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "data.npz")
        for _ in range(arguments.rounds):
            for kind, speeds in found.items():
                speeds.append(run(kind, Path(folder), arguments))
    medians = {kind: statistics.median(speeds) for kind, speeds in found.items()}
    figures = {
        "model": arguments.model,
        "batch": arguments.batch,
        "images_per_s": medians,
        "all_runs": found,
        "ratio": medians["two processes"] / medians["one process"],
    }
    keep("ranks", "python " + " ".join(["bench/ranks.py", *sys.argv[1:]]), figures)


if __name__ == "__main__":
    main()
