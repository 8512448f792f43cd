r"""Whether networks learn by Winograd's convolutions as by torch's: five seeds of each.

    python bench/winograd_curves.py CIFAR [--epochs 1] [--seeds 5]
    python bench/winograd_curves.py CIFAR --model swift-1 --epochs 3 \
        --arms bfloat16/torch bfloat16/winograd-4

Each run is `ravine train CIFAR --model M --epochs E --precision P --convolution A --seed S
--threads 1`, and as many run at a time as there are cores; runs of a seed begin with the same
weights and see the same images. Of each arm the mean loss in tenths of the run, and the loss and
accuracy on the test images; of each algorithm the difference from torch's in the same precision,
seed by seed, with its standard error, beside the spread of torch's own seeds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from results import keep

ARMS = (  # precision and algorithm
    "bfloat16/torch",
    "bfloat16/winograd-2",
    "bfloat16/winograd-4",
    "float32/torch",
    "float32/winograd-4",
)
TENTHS = 10
Run = dict[str, Any]


def train(asked: argparse.Namespace, folder: Path, job: tuple[int, str]) -> Run:
    seed, arm = job
    precision, _, algorithm = arm.partition("/")
    out = folder / f"{precision}-{algorithm}-{seed}"
    options = ("--model", asked.model, "--epochs", str(asked.epochs), "--threads", "1")
    options += ("--precision", precision, "--convolution", algorithm, "--seed", str(seed))
    command = [sys.executable, "-m", "ravine", "train", asked.data, *options]
    subprocess.run([*command, "--out", str(out), "--quiet"], check=True, capture_output=True)
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["kind"] == "step"]
    end = json.loads((out / "evaluation.json").read_text())
    run = {"losses": tenths(steps), "loss": end["loss"], "accuracy": 100 * end["accuracy"]}
    print(*job, run, file=sys.stderr, flush=True)
    return run


def tenths(steps: list[dict[str, Any]]) -> list[float]:
    """Returns the mean loss in each tenth; a row's loss is the mean since the row before."""
    numbers = np.array([row["step"] for row in steps])
    losses = np.array([row["loss"] for row in steps])
    total = np.concatenate([[0.0], np.cumsum(losses * np.diff(numbers, prepend=0))])
    at = np.linspace(0, numbers[-1], TENTHS + 1)
    sums = np.interp(at, np.concatenate([[0], numbers]), total)
    return [float(x) for x in np.diff(sums) / np.diff(at)]


def difference(runs: list[Run], torchs: list[Run], name: str) -> dict[str, float]:
    """Returns mean and standard error of the paired difference, and torch's spread."""
    found = [ours[name] - theirs[name] for ours, theirs in zip(runs, torchs, strict=True)]
    return {
        "mean": round(statistics.mean(found), 4),
        "standard error": round(statistics.stdev(found) / len(found) ** 0.5, 4),
        "spread of torch's seeds": round(statistics.stdev(run[name] for run in torchs), 4),
    }


def describe(runs: list[Run], torchs: list[Run]) -> dict[str, Any]:
    curves = np.array([run["losses"] for run in runs])
    found: dict[str, Any] = {
        "test accuracy, %": [round(run["accuracy"], 2) for run in runs],
        "test loss": [round(run["loss"], 4) for run in runs],
        "mean loss in tenths": [round(float(x), 3) for x in curves.mean(0)],
        "its spread over seeds": [round(float(x), 3) for x in curves.std(0, ddof=1)],
    }
    if runs is not torchs:
        for name in ("accuracy", "loss"):
            found[f"{name} minus torch's"] = difference(runs, torchs, name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--model", default="wrn-10-1")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    asked = parser.parse_args()
    jobs = [(seed, arm) for seed in range(asked.seeds) for arm in asked.arms]
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        found = list(pool.map(partial(train, asked, Path(folder)), jobs))
    runs = {
        arm: [run for (_, of), run in zip(jobs, found, strict=True) if of == arm]
        for arm in asked.arms
    }
    figures = {
        arm: describe(runs[arm], runs[arm.partition("/")[0] + "/torch"]) for arm in asked.arms
    }
    command = f"python bench/winograd_curves.py {Path(asked.data).name} --epochs {asked.epochs}"
    keep(f"winograd-curves-{asked.model}", f"{command} --model {asked.model}", figures)


if __name__ == "__main__":
    main()
