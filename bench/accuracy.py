"""Accuracy within a budget, as a user would have it: through the command line.

    python bench/accuracy.py demo FOLDER_OF_FASHION_MNIST
    python bench/accuracy.py fashion FOLDER_OF_FASHION_MNIST
    python bench/accuracy.py cifar CIFAR10_JPEG.tar.gz

demo trains on the shipped sample for 80 s and is measured on the whole 10,000 test images.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from results import keep


def ravine(*arguments: str) -> str:
    command = [sys.executable, "-m", "ravine", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def train(data: str, budget: str, out: Path) -> dict[str, Any]:
    start = time.monotonic()
    ravine("train", data, "--recipe", "fast", "--budget", budget, "--out", str(out))
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["demo", "fashion", "cifar"])
    parser.add_argument("data", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data, out = str(chosen.data), Path(place) / "run"
        if chosen.which == "cifar":
            with tarfile.open(chosen.data) as file:
                file.extractall(Path(place) / "images", filter="data")
            data = str(Path(place) / "images")
        if chosen.which == "demo":
            figures = train("@fashion", "80s", out)
            found = json.loads(ravine("evaluate", str(out), str(chosen.data), "--json"))
            figures["accuracy on the whole 10,000 test images, %"] = 100 * found["accuracy"]
        else:
            figures = train(data, "10min", out)
    keep(
        f"accuracy-{chosen.which}",
        f"python bench/accuracy.py {chosen.which} {chosen.data.name}",
        figures,
    )


if __name__ == "__main__":
    main()
