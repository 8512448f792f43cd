"""Run folders of any length that were never trained: what a page of many or long runs reads."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import write_json

CLASSES = ["boot", "bag", "coat"]
OPTIMIZERS = ("momentum", "adam", "nadam", "rmsprop", "adagrad")


def history(rows: int, epochs: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yields the rows of a run whose loss falls, with noise."""
    chance = random.Random(seed)
    for step in range(1, rows + 1):
        share = step / rows
        loss = 2.3 * math.exp(-3 * share) + 0.1 + 0.1 * chance.random()
        at = {"step": step, "epoch": epochs * share, "elapsed": 0.1 * step}
        yield {
            "kind": "step", **at, "loss": round(loss, 5), "accuracy": round(1 - loss / 2.6, 5),
            "lr": round(0.1 * (1 - share), 6), "images_per_second": 900 + chance.random(),
            "skipped": 0, "gradient_norm": round(1 + chance.random(), 5),
        }  # fmt: skip
        if step % max(1, rows // epochs) == 0:
            accuracy = 0.93 - 0.6 * math.exp(-4 * share)
            yield {
                "kind": "epoch", **at, "train_loss": loss, "train_accuracy": accuracy - 0.02,
                "accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01],
                "loss": loss + 0.05, "images_per_second": 900.0,
            }  # fmt: skip


def snapshots(count: int, every: int, layers: int) -> Iterator[dict[str, Any]]:
    """Yields rows of layers.jsonl."""
    for k in range(count):
        rows = {
            f"{n}.convolution": {
                "kind": "Conv2d", "var": 10 ** (0.1 * n - 0.01 * k), "gradient_var": 1e-6 * 2**-n,
            }
            for n in range(layers)
        }  # fmt: skip
        weights = {
            f"{n}.convolution.weight": {
                "update_ratio": 1e-3 * (1 + n),
                "gradient_norm": 0.1 / (n + 1),
            }
            for n in range(layers)
        }
        step = 1 + k * every
        yield {"kind": "look", "step": step, "lr": 0.1, "layers": rows, "parameters": weights}


def make_run(path: Path, rows: int, *, epochs: int = 20, seed: int = 0, ended: bool = True) -> Path:
    """Writes a run folder of so many rows of steps."""
    path.mkdir(parents=True)
    settings = {
        "model": f"wrn-{10 + 6 * (seed % 3)}-4", "data": "@fashion", "seed": seed,
        "optimizer": OPTIMIZERS[seed % len(OPTIMIZERS)], "lr": 0.1 + 0.01 * seed,
    }  # fmt: skip
    write_recipe(path / "recipe.toml", settings, {"total_steps": rows, "steps_per_epoch": 10})
    with (path / "history.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in history(rows, epochs, seed))
    with (path / "layers.jsonl").open("w") as file:
        for row in snapshots(60, max(1, rows // 60), 16):
            file.write(json.dumps(row) + "\n")
    finding = {
        "severity": "warning", "code": "overfitting", "step": rows // 2, "found": rows // 2 + 9,
        "text": "the validation loss has risen", "cause": "few examples", "cure": "more data",
    }  # fmt: skip
    if seed % 4 == 1:
        (path / "findings.jsonl").write_text(json.dumps(finding) + "\n")
    if ended:
        _end(path, seed)
    return path


def _end(path: Path, seed: int) -> None:
    right = 90 + seed % 7
    table = [[right, 100 - right, 0], [3, 97, 0], [0, 1, 99]]
    hits = sum(table[k][k] for k in range(3)) / 300
    result = {
        "split": "test", "count": 300, "accuracy": hits, "interval": [hits - 0.02, hits + 0.02],
        "loss": 0.3, "classes": CLASSES, "confusion": table, "mistakes": [],
    }  # fmt: skip
    write_json(path / "evaluation.json", result)
    (path / "model.safetensors").write_bytes(b"")
