"""The confusion matrix in evaluation.json: small files of many classes, old files as ever."""

import json
from pathlib import Path

import numpy as np
import pytest

from ravine.core.errors import RunError
from ravine.reports.contents import gather
from ravine.runs.confusion import dense_confusion, packed_confusion
from ravine.runs.rows import write_json


def table(classes: int, images: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, classes, (2, images))
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (true, predicted), 1)
    return found


def test_100_000_images_of_2000_classes_take_less_than_2_mb(tmp_path: Path) -> None:
    found = table(2000, 100_000)
    names = [f"class number {k}" for k in range(2000)]
    packed = packed_confusion(found)
    facts = {"split": "test", "count": 100_000, "accuracy": 0.1, "interval": [0.09, 0.11]}
    write_json(tmp_path / "evaluation.json", {**facts, "classes": names, "confusion": packed})
    assert (tmp_path / "evaluation.json").stat().st_size < 2e6
    assert np.array_equal(dense_confusion(json.loads(json.dumps(packed))), found)
    shown = gather(tmp_path).evaluation["confusion"]
    assert np.array_equal(shown, found)


def test_up_to_100_classes_it_is_a_list_of_rows_as_in_older_files() -> None:
    found = table(100, 500)
    assert packed_confusion(found) == found.tolist()
    older = table(150, 500)
    assert np.array_equal(dense_confusion(older.tolist()), older)


@pytest.mark.parametrize(
    "broken",
    [None, {}, {"sparse": ["9:1"]}, {"sparse": [1]}, {"sparse": ["x:1"]}, [[1, 2]], [[1], [2, 3]]],
)
def test_what_is_no_confusion_matrix_is_refused(broken: object) -> None:
    with pytest.raises(RunError, match="confusion matrix"):
        dense_confusion(broken)
