"""The most confident errors of the last validation, while a run is trained."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from ravine.data.dataset import Dataset, Preprocessing
from ravine.runs.folder import RunFolder
from ravine.training.evaluation import Evaluation, summarise
from ravine.workflows.mistakes import LiveMistakes
from ravine.workflows.run_end import keep_mistakes

LOGS = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32))


LABELS = np.array([0, 0, 1, 1, 1])


@pytest.fixture
def dataset() -> Dataset:
    """Returns five images, each of the grey of its index; the last three are of the validation."""
    grey = np.arange(5, dtype=np.uint8)[:, None, None, None]
    return Dataset(
        images=grey * np.ones((1, 4, 4, 1), np.uint8),
        labels=LABELS,
        classes=("a", "b"),
        splits={"train": np.array([0, 1]), "validation": np.array([2, 3, 4])},
        names=[f"image {k}" for k in range(5)],
        preprocessing=Preprocessing(image_size=4, channels=1, mean=(0.5,), std=(0.25,)),
        audit={},
        fingerprint="",
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_the_worst_errors_of_a_validation_are_kept_with_their_pictures(
    dataset: Dataset, folder: RunFolder
) -> None:
    times = iter([0.0, 1.0, 2.0, 5.0, 4000.0, 4001.0])  # one took a second; the next comes soon
    watched = LiveMistakes(dataset, folder, lambda _: found, clock=lambda: next(times))

    found: Evaluation = summarise(LOGS, LABELS[2:])
    assert watched(nn.Identity()) is found
    rows = json.loads(folder.mistakes_so_far.read_text())["mistakes"]
    assert [row["name"] for row in rows] == ["image 2", "image 4"]
    assert [row["predicted"] for row in rows] == ["a", "a"]
    assert rows[0]["probability"] == pytest.approx(0.9)
    grey = [int(np.asarray(Image.open(folder.path / row["image"]))[0, 0]) for row in rows]
    assert grey == [2, 4]

    found = summarise(LOGS[:, ::-1], LABELS[2:])
    watched(nn.Identity())  # soon after: its time has not come
    assert json.loads(folder.mistakes_so_far.read_text())["mistakes"] == rows
    watched(nn.Identity())
    (row,) = json.loads(folder.mistakes_so_far.read_text())["mistakes"]
    assert row["name"] == "image 3"


def test_the_end_of_a_run_takes_their_place(dataset: Dataset, folder: RunFolder) -> None:
    LiveMistakes(dataset, folder, lambda _: summarise(LOGS, LABELS[2:]))(nn.Identity())
    rows = keep_mistakes(dataset, folder, np.array([2, 3, 4]), LOGS)

    assert len(rows) == 2
    assert not folder.mistakes_so_far.exists()
