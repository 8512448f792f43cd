"""Accuracy within a budget, as a user would have it: through the command line.

    python bench/accuracy.py demo FOLDER_OF_FASHION_MNIST
    python bench/accuracy.py fashion FOLDER_OF_FASHION_MNIST
    python bench/accuracy.py cifar CIFAR10_JPEG.tar.gz [--seeds 3]

demo trains on the shipped sample for 80 s and is measured on the whole 10,000 test images. One run
for each seed, their mean, and its interval by Student's t where there are several.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from results import keep, processor_kind

from ravine.core.student_t import student_t_quantile

DEMO = "accuracy on the whole 10,000 test images, %"


def ravine(*arguments: str) -> str:
    command = [sys.executable, "-m", "ravine", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def train(data: str, budget: str, seed: int, out: Path) -> dict[str, Any]:
    start = time.monotonic()
    asked = ("--recipe", "fast", "--budget", budget, "--seed", str(seed))
    ravine("train", data, *asked, "--out", str(out))
    wall = time.monotonic() - start
    seconds = json.loads((out / "environment.json").read_text())["seconds"]
    result = json.loads((out / "evaluation.json").read_text())
    model = json.loads((out / "environment.json").read_text())["model"]["name"]
    return {
        "model": model,
        "accuracy, %": round(100 * result["accuracy"], 2),
        "interval, %": [round(100 * v, 2) for v in result["interval"]],
        "with test-time flip, %": round(100 * result["tta"]["accuracy"], 2),
        "its interval, %": [round(100 * v, 2) for v in result["tta"]["interval"]],
        "images": result["count"],
        "training and evaluation, s": round(seconds["training"] + seconds["evaluation"], 1),
        "all told, s": round(wall, 1),
    }


def summary(rows: list[float]) -> dict[str, Any]:
    """Returns mean and 95 % interval over seeds."""
    mean = statistics.fmean(rows)
    if len(rows) < 2:
        return {"mean, %": round(mean, 2)}
    half = student_t_quantile(len(rows) - 1, 0.975) * statistics.stdev(rows) / len(rows) ** 0.5
    return {"mean, %": round(mean, 2), "95 %": [round(mean - half, 2), round(mean + half, 2)]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["demo", "fashion", "cifar"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as place:
        data = str(chosen.data)
        if chosen.which == "cifar":
            with tarfile.open(chosen.data) as file:
                file.extractall(Path(place) / "images", filter="data")
            data = str(Path(place) / "images")
        for seed in range(chosen.seeds):
            out = Path(place) / f"run-{seed}"
            if chosen.which == "demo":
                figures = train("@fashion", "80s", seed, out)
                found = json.loads(ravine("evaluate", str(out), str(chosen.data), "--json"))
                figures[DEMO] = round(100 * found["accuracy"], 2)
            else:
                figures = train(data, "10min", seed, out)
            print({"seed": seed, **figures}, flush=True)
            runs.append(figures)
    name = DEMO if chosen.which == "demo" else "accuracy, %"
    command = f"python bench/accuracy.py {chosen.which} {chosen.data.name} --seeds {chosen.seeds}"
    figures = {name: summary([run[name] for run in runs]), "runs": runs}
    keep(f"accuracy-{chosen.which}-{processor_kind()}", command, figures)


if __name__ == "__main__":
    main()
