"""Several labels per image: `ravine train` against a plain torch loop of the same network and loss.

    python bench/several_labels.py FOLDER_OF_FASHION_MNIST

10,000 pictures of one to three articles of Fashion-MNIST, laid over each other at random positions
in 32×32 pixels, and 2,000 test pictures of articles that no training picture has. The plain loop
gets the processor seconds that Ravine's training took, on one thread, and a schedule that ends with
them. Thresholds are chosen by one rule on the same validation pictures; figures are of the test
pictures, each with its 95 % interval.
"""

import argparse
import csv
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from results import keep

import ravine
from ravine.data.opening import open_dataset
from ravine.training.label_thresholds import choose_thresholds
from ravine.training.several_evaluation import Thresholds, several_evaluation
from ravine.workflows.recipe import Recipe

NAMES = [
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
]
SIDE, TRAIN, TEST = 32, 10_000, 2_000
MODEL, BATCH = "resnet-cifar-8", 128
FIGURES = ("mean_ap", "macro_f1", "micro_f1", "exact_match")


def articles(folder: Path, which: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, 28, 28) uint8 and (N,) of Fashion-MNIST."""
    found = []
    for kind, start in (("images-idx3", 16), ("labels-idx1", 8)):
        path = next(folder.glob(f"{which}-{kind}-ubyte*"))
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            found.append(np.frombuffer(file.read(), np.uint8, offset=start))
    return found[0].reshape(-1, 28, 28), found[1]


def paint(folder: Path, out: Path) -> None:
    """Writes the pictures, and a table with a column for each label and one for the split."""
    (out / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (out / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", *NAMES, "split"])
        for split, count, which in (("train", TRAIN, "train"), ("test", TEST, "t10k")):
            images, labels = articles(folder, which)
            for number in range(count):
                chosen = rng.integers(0, len(images), rng.integers(1, 4))
                canvas = np.zeros((SIDE, SIDE), np.uint8)
                for index in chosen:
                    top, left = rng.integers(0, SIDE - 28 + 1, 2)
                    part = canvas[top : top + 28, left : left + 28]
                    np.maximum(part, images[index], out=part)
                name = f"{split}-{number:05d}.png"
                Image.fromarray(canvas).save(out / "images" / name)
                has = set(labels[chosen].tolist())
                table.writerow([name, *(int(k in has) for k in range(len(NAMES))), split])


def by_ravine(data: Path, run: Path, epochs: float) -> dict[str, Any]:
    """Returns the figures of a run by the command line, and its processor seconds."""
    command = [sys.executable, "-m", "ravine", "train", str(data / "images"), "--labels"]
    command += [str(data / "labels.csv"), "--model", MODEL, "--epochs", str(epochs)]
    command += ["--threads", "1", "--monitor", "0", "--out", str(run), "--quiet"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    found = json.loads((run / "evaluation.json").read_text())
    return shown(found) | {"processor, s": round(seconds, 1), "epochs": epochs}


def by_hand(data: Path, seconds: float) -> dict[str, Any]:
    """Returns the figures of a plain torch loop in so many processor seconds."""
    torch.manual_seed(0)
    settings = Recipe(data=str(data / "images"), labels=str(data / "labels.csv"))
    dataset = open_dataset(settings, seed=0)
    images = torch.from_numpy(np.array(dataset.images)).permute(0, 3, 1, 2).float() / 255
    mean, std = dataset.preprocessing.mean[0], dataset.preprocessing.std[0]
    images, truth = (images - mean) / std, torch.from_numpy(dataset.labels).float()
    train = torch.from_numpy(dataset.splits["train"])
    model = ravine.models.build(MODEL, classes=len(NAMES), channels=1, image_size=SIDE)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=5e-2)
    one = seconds_of_a_step(model, images[train[:BATCH]], truth[train[:BATCH]])
    total = max(1, int(seconds / one))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=total)
    start, step = time.process_time(), 0
    while step < total and time.process_time() - start < 1.05 * seconds:
        for chosen in train[torch.randperm(len(train))].split(BATCH)[:-1]:
            if step == total:
                break
            batch = augmented(images[chosen])
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(batch), truth[chosen], reduction="sum")
            (loss / len(chosen)).backward()
            optimizer.step()
            schedule.step()
            step += 1
    took = time.process_time() - start
    found = evaluated(model.eval(), images, dataset)
    return shown(found) | {
        "processor, s": round(took, 1),
        "epochs": round(step * BATCH / len(train), 2),
    }


def seconds_of_a_step(model: torch.nn.Module, images: torch.Tensor, truth: torch.Tensor) -> float:
    """Returns the processor seconds of forward and backward, the best of three."""
    times = []
    for _ in range(4):
        start = time.process_time()
        F.binary_cross_entropy_with_logits(model(augmented(images)), truth).backward()
        times.append(time.process_time() - start)
    return 1.05 * min(times)  # the optimizer's step


def augmented(images: torch.Tensor) -> torch.Tensor:
    """Returns images (B, 1, S, S) flipped at random, and moved by up to two pixels."""
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    top, left = torch.randint(0, 5, (2,)).tolist()
    moved = padded[:, :, top : top + SIDE, left : left + SIDE]
    flips = torch.rand(len(images)) < 0.5
    return torch.where(flips[:, None, None, None], moved.flip(3), moved)


@torch.no_grad()
def evaluated(model: torch.nn.Module, images: torch.Tensor, dataset: Any) -> dict[str, Any]:
    logs = {}
    for split in ("validation", "test"):
        parts = images[torch.from_numpy(dataset.splits[split])].split(500)
        logs[split] = torch.cat([F.logsigmoid(model(part)) for part in parts]).numpy()
    held_out = dataset.labels[dataset.splits["validation"]]
    values = choose_thresholds(np.exp(logs["validation"].astype(np.float64)), held_out)
    return several_evaluation(
        logs["test"],
        None,
        dataset.labels[dataset.splits["test"]],
        split="test",
        classes=NAMES,
        thresholds=Thresholds(values=values, source="validation"),
    )


def shown(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [round(100 * v, 2) for v in (found[name], *found[f"{name}_interval"])]
        for name in FIGURES
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fashion", type=Path)
    parser.add_argument("--epochs", type=float, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        paint(chosen.fashion, data)
        first = by_ravine(data, Path(place) / "run", chosen.epochs)
        second = by_hand(data, first["processor, s"])
        figures = {"ravine": first, "plain loop": second}
        command = f"python bench/several_labels.py FOLDER --epochs {chosen.epochs:g}"
        keep("several-labels", command, {"network": MODEL, **figures})


if __name__ == "__main__":
    main()
