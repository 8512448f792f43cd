"""A run folder with rows, layers, a finding, a mistake's picture and a result, never trained."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import append_row, write_json

LOSSES = (2.3, 1.1, 0.7)


def _make(path: Path) -> Path:
    path.mkdir(parents=True)
    write_recipe(path / "recipe.toml", {"model": "wrn-10-1", "lr": 0.25, "augment": True}, None)
    for k, loss in enumerate(LOSSES):
        at = {"step": 10 * (k + 1), "epoch": k + 1.0, "elapsed": 2.0 * (k + 1)}
        row = {"kind": "step", **at, "loss": loss, "lr": 0.1, "gradient_norm": None}
        append_row(path / "history.jsonl", row)
        epoch = {"kind": "epoch", **at, "accuracy": 0.5, "interval": [0.4, 0.6], "loss": loss / 2}
        append_row(path / "history.jsonl", epoch)
        tensors = {"0.weight": {"update_ratio": 1e-3}, "1.weight": {"update_ratio": 1e-1}}
        look = {"layers": {"0": {"kind": "Conv2d", "var": 4.0, "gradient_var": "nan"}}}
        append_row(
            path / "layers.jsonl",
            {"kind": "look", "step": at["step"], **look, "parameters": tensors},
        )
    finding = {"severity": "critical", "code": "plateau", "text": "it stays", "cure": "check it"}
    append_row(path / "findings.jsonl", {**finding, "step": 1, "found": 20})
    (path / "mistakes").mkdir()
    Image.fromarray(np.full((4, 4), 200, np.uint8)).save(path / "mistakes" / "00.png")
    mistake = {"name": "x", "true": "a", "predicted": "b", "probability": 0.9}
    write_json(path / "evaluation.json", {
        "split": "test", "count": 10, "accuracy": 0.5, "interval": [0.2, 0.8], "loss": 1.5,
        "classes": ["a", "b"], "mistakes": [{**mistake, "image": "mistakes/00.png"}],
    })  # fmt: skip
    (path / "report.html").write_text("<p>the report</p>")
    return path


@pytest.fixture
def make_run() -> Callable[[Path], Path]:
    """Makes a run folder."""
    return _make


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Returns a run folder."""
    return _make(tmp_path / "runs" / "one")
