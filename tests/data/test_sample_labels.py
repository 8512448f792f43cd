"""Labels of a sample submission that cannot be those of the network."""

from pathlib import Path

import numpy as np
import pytest

from ravine.core.errors import DataError
from ravine.data.submission import read_sample, write_submission

CLASSES = ["cat", "Big dog", "owl"]
P = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], np.float32)


def _write(folder: Path, labels: tuple[str, str], classes: list[str]) -> str:
    (folder / "s.csv").write_text(f"id,label\na,{labels[0]}\nb,{labels[1]}\n")
    write_submission(folder / "o.csv", read_sample(folder / "s.csv"), ["a", "b"], classes, P)
    return (folder / "o.csv").read_text()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("zebra", "zebra"), "holds the labels 'zebra', and none is a class"),
        (("zebra", "horse"), "'horse', 'zebra', and none is a class"),
        (("1", "2"), "counted from 0 or from 1"),
        (("1", "1"), "counted from 0 or from 1"),
        (("3", "1"), "counted from 0 or from 1"),
        (("0", "7"), "holds the labels '7', and none is a class"),
    ],
)
def test_foreign_labels_are_refused_and_nothing_is_written(
    tmp_path: Path, labels: tuple[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _write(tmp_path, labels, CLASSES)

    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("label", ["", "-1", "unknown", "?", "cat", "big dog"])
def test_placeholders_and_classes_take_class_names(tmp_path: Path, label: str) -> None:
    assert _write(tmp_path, (label, label), CLASSES).splitlines()[2] == "b,cat"


def test_numbers_with_a_zero_are_counted_from_zero(tmp_path: Path) -> None:
    assert _write(tmp_path, ("0", "2"), CLASSES) == "id,label\na,1\nb,0\n"


def test_numbers_that_are_class_names_are_class_names(tmp_path: Path) -> None:
    assert _write(tmp_path, ("1", "2"), ["1", "2", "3"]) == "id,label\na,2\nb,1\n"
