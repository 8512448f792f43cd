"""Predicted against measured variance at the start, over draws of the initial weights.

    python bench/variance.py --draws 100            # goes on where it stopped; an hour on one core
    python bench/variance.py --draws 5 --only alexnet

For each network and each draw: the gain from one layer to the next, predicted over measured, both
ways; and the cumulative variance against its band. Rows land in bench/results/variance.jsonl, their
summary in bench/results/variance.json.
"""

import argparse
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from results import RESULTS, keep
from torch import Tensor, nn

import ravine
from ravine.data.batches import evaluation_batches
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.nn import init_
from ravine.propagation import variance_profile

ROWS = RESULTS / "variance.jsonl"
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "alexnet": ("alexnet", {}),
    "resnet-cifar-56": ("resnet-cifar-56", {}),
    "resnet-cifar-110 without skips": ("resnet-cifar-110", {"skip": False}),
    "resnet-cifar-110 without skips and norm": (
        "resnet-cifar-110",
        {"skip": False, "norm": "none"},
    ),
    "wrn-40-4": ("wrn-40-4", {}),
}
INITS = ("xavier", "he")
NEAR = 1.25  # a gain that is predicted well


def batch(images: int) -> tuple[Tensor, Tensor]:
    data = open_dataset(DataSettings(data="@fashion", validation=0.0), seed=0)
    index = data.splits["train"][:images]
    (one,) = evaluation_batches(
        data.images, index, preprocessing=data.preprocessing, batch=images,
        device=torch.device("cpu"), labels=data.labels,
    )  # fmt: skip
    return one.images, one.targets.long()


def network(name: str, init: str, draw: int, images: Tensor) -> nn.Module:
    model, options = NETWORKS[name]
    torch.manual_seed(draw)
    made = ravine.models.build(
        model, classes=10, channels=images.shape[1], image_size=images.shape[2], **options
    )
    return init_(made, init, generator=torch.Generator().manual_seed(draw))


def compare(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, list[float]]:
    """Returns logarithms of predicted over measured, and half of the band, layer by layer.

    Backward the layers run from the last to the first, as the gradient does. The layer that makes
    the classes is left out backward, where the gradient is measured and not predicted.
    """
    profile = variance_profile(model, images, lambda out: F.cross_entropy(out, labels))
    found: dict[str, list[float]] = {}
    for direction in ("forward", "backward"):
        layers = profile.weighted if direction == "forward" else reversed(profile.weighted)
        logs, halves = [], []
        for layer in layers:
            measured, band = getattr(layer, direction), getattr(layer, f"{direction}_band")
            predicted = getattr(layer, f"{direction}_predicted")
            if band is None or not measured or not predicted:
                continue
            logs.append(math.log(predicted / measured))
            halves.append(math.log(band))
        found[direction], found[direction + " band"] = logs, halves
    return found


def rows(draws: int, only: str, images: int) -> Iterator[tuple[str, str, int]]:
    kept = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    done = {(row["network"], row["init"], row["draw"]) for row in kept if row["images"] == images}
    for draw in range(draws):
        for name in NETWORKS:
            for init in INITS:
                if only in name and (name, init, draw) not in done:
                    yield name, init, draw


def summary() -> dict[str, Any]:
    """Returns for each network how many gains are near, and how often the band holds."""
    found: dict[str, Any] = {}
    all_rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    for name in NETWORKS:
        for init in INITS:
            own = [row for row in all_rows if (row["network"], row["init"]) == (name, init)]
            if own:
                both = {way: _way(own, way) for way in ("forward", "backward")}
                found[f"{name}, {init}"] = {"draws": len(own), **both}
    return found


def _way(own: list[dict[str, Any]], way: str) -> dict[str, float]:
    gains = np.concatenate([np.diff(row[way], prepend=0.0) for row in own])
    sums = np.concatenate([np.abs(row[way]) for row in own])
    halves = np.concatenate([np.array(row[way + " band"]) for row in own])
    return {
        "layers": len(own[0][way]),
        "gains_within_1.25": round(float((np.abs(gains) < math.log(NEAR)).mean()), 4),
        "gain_factor_95": round(float(np.exp(np.quantile(np.abs(gains), 0.95))), 4),
        "cumulative_in_band": round(float((sums <= halves).mean()), 4),
        "cumulative_factor_95": round(float(np.exp(np.quantile(sums, 0.95))), 4),
        "band_factor_at_end": round(
            float(np.exp(np.median([r[way + " band"][-1] for r in own]))), 3
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = batch(given.images)
    ROWS.parent.mkdir(exist_ok=True)
    for name, init, draw in rows(given.draws, given.only, given.images):
        row = {"network": name, "init": init, "draw": draw, "images": given.images}
        row |= compare(network(name, init, draw, images), images, labels)
        short = {k: [round(x, 5) for x in v] if isinstance(v, list) else v for k, v in row.items()}
        with ROWS.open("a") as file:
            file.write(json.dumps(short) + "\n")
    keep("variance", f"python bench/variance.py --draws {given.draws}", summary())


if __name__ == "__main__":
    main()
