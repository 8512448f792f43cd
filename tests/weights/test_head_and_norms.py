"""A head that is fitted before step 1 fits the network as training runs it, batch norm included."""

import math
from pathlib import Path

import numpy as np
import pytest

import ravine
from ravine.runs.rows import read_rows

SMALL = {
    "threads": 1,
    "device": "cpu",
    "precision": "float32",
    "convolution": "guess",
    "augment": "none",
    "show": "none",
}
LEVELS = {"black": 20, "grey": 60, "white": 230}


def _pictures(path: Path, classes: list[str]) -> Path:
    """Writes flat pictures with noise; each class has its brightness."""
    chance = np.random.default_rng(0)
    labels = np.array(classes * 30)
    levels = np.array([LEVELS[label] for label in labels])[:, None, None, None]
    images = np.clip(levels + chance.normal(0, 8, (len(labels), 8, 8, 1)), 0, 255)
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path


@pytest.mark.slow
def test_a_class_that_shifts_the_statistics_does_not_undo_the_fitted_head(tmp_path: Path) -> None:
    two = _pictures(tmp_path / "two.npz", ["black", "grey"])
    three = _pictures(tmp_path / "three.npz", ["black", "grey", "white"])
    first = ravine.train(two, out=tmp_path / "a", model="wrn-10-1", epochs=2, batch=4, **SMALL)

    run = ravine.train(
        three, out=tmp_path / "b", weights=str(first.path), epochs=1, batch=16, **SMALL
    )

    epochs = [row for row in read_rows(run.path / "history.jsonl") if "train_loss" in row]
    assert epochs[0]["train_loss"] < math.log(3) / 2
