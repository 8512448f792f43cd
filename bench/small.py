"""A handful of photographs, ten epochs, the defaults: what a first user does.

    python bench/small.py FOLDER_OF_FASHION_MNIST

Shirts, trousers and bags of Fashion-MNIST as PNG files in a folder for each class: 60 of each
(180), and 17 or 16 of each (50). Every run is `ravine train FOLDER --model NAME --epochs 10
--seed SEED` and nothing else, and is evaluated on the 3,000 test images of the three classes.
The seed also picks the photographs.
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

import numpy as np
from PIL import Image
from results import keep, kept

from ravine.data.sources.idx import read_idx

CLASSES = {"bag": 8, "shirt": 6, "trouser": 1}
SIZES = {180: (60, 60, 60), 50: (17, 17, 16)}
MODELS = ("resnet-18", "wrn-16-1", "swift-1", "alexnet-2014")
EPOCHS, SEEDS = 10, 3


def write_photographs(
    source: Path, part: str, out: Path, counts: tuple[int, ...] | None, *, seed: int = 0
) -> None:
    """Writes images of the three classes as PNG files, one folder per class; None takes all."""
    images = read_idx(source / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(source / f"{part}-labels-idx1-ubyte.gz")
    generator = np.random.default_rng(seed)
    for place, (name, label) in enumerate(CLASSES.items()):
        chosen = np.flatnonzero(labels == label)
        if counts is not None:
            chosen = generator.permutation(chosen)[: counts[place]]
        (out / name).mkdir(parents=True)
        for number in chosen:
            Image.fromarray(images[number]).save(out / name / f"{number:05d}.png")


def ravine(*arguments: str) -> str:
    command = [sys.executable, "-m", "ravine", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


def train(data: Path, test: Path, model: str, seed: int, out: Path) -> dict[str, Any]:
    """Returns the accuracy on the test images, the findings and the seconds of one run."""
    start = time.monotonic()
    length = ("--epochs", str(EPOCHS), "--seed", str(seed))
    ravine("train", str(data), "--model", model, *length, "--out", str(out))
    seconds = time.monotonic() - start
    found = json.loads(ravine("evaluate", str(out), str(test), "--json"))
    assert found["count"] == 3000, found["count"]
    rows = out / "findings.jsonl"
    lines = rows.read_text().splitlines() if rows.exists() else []
    findings = [row for row in map(json.loads, lines) if row["severity"] != "note"]
    return {
        "accuracy": 100 * found["accuracy"],
        "findings": [row["code"] for row in findings],
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    chosen = parser.parse_args()
    figures = kept("small")  # rows that are not measured again stay
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["RAVINE_CACHE"] = str(place / "cache")
        write_photographs(chosen.data, "t10k", place / "test", None)
        for size in map(int, chosen.sizes.split(",")):
            counts = SIZES[size]
            for seed in range(SEEDS):
                write_photographs(chosen.data, "train", place / f"{size}-{seed}", counts, seed=seed)
            for model in chosen.models.split(","):
                runs = [
                    train(
                        place / f"{size}-{seed}",
                        place / "test",
                        model,
                        seed,
                        place / f"{model}-{size}-{seed}",
                    )
                    for seed in range(SEEDS)
                ]
                accuracies = [run["accuracy"] for run in runs]
                figures[f"{size} photographs, {model}"] = {
                    "mean accuracy, %": round(statistics.mean(accuracies), 2),
                    "of each seed, %": [round(value, 2) for value in accuracies],
                    "findings": sorted({code for run in runs for code in run["findings"]}),
                    "seconds of a run": round(statistics.mean(run["seconds"] for run in runs), 1),
                }
                keep("small", f"python bench/small.py {chosen.data.name}", figures)


if __name__ == "__main__":
    main()
