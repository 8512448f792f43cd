"""Submissions that name several of the likeliest classes, and ids that count rows."""

from pathlib import Path

import numpy as np
import pytest

from ravine.core.errors import DataError, SettingError
from ravine.data.matching import match_rows
from ravine.data.submission import read_sample, write_form
from ravine.data.submission_form import submission_form

NAMES = ["x.png", "y.png"]
CLASSES = ["cat", "Big dog", "owl"]
P = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], np.float32)


def written(
    folder: Path, sample: str, classes: list[str] = CLASSES, *, top: int | None = None
) -> str:
    (folder / "s.csv").write_text(sample)
    read = read_sample(folder / "s.csv")
    form = submission_form(read, NAMES, classes, top=top)
    write_form(folder / "o.csv", read, form, NAMES, P[form.wanted])
    return (folder / "o.csv").read_text()


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("Id,Tags\ny,owl cat\nx,owl cat\n", "Id,Tags\ny,cat big_dog\nx,big_dog owl\n"),
        ("Id,Tags\ny,owl BIG_DOG\nx,owl BIG_DOG\n", "Id,Tags\ny,cat BIG_DOG\nx,BIG_DOG owl\n"),
        ("id,predicted\nx,0 1 2\ny,0 1 2\n", "id,predicted\nx,1 2 0\ny,0 1 2\n"),
    ],
)
def test_a_cell_of_several_classes_gets_as_many_of_the_likeliest(
    tmp_path: Path, sample: str, expected: str
) -> None:
    classes = CLASSES if "0 1" in sample or "BIG_DOG" in sample else ["cat", "big_dog", "owl"]
    assert written(tmp_path, sample, classes) == expected


def test_numbers_that_are_names_of_classes_are_names(tmp_path: Path) -> None:
    assert written(tmp_path, "id,c\nx,5 7\ny,5 7\n", ["5", "6", "7"]) == "id,c\nx,6 7\ny,5 6\n"


def test_a_class_whose_name_holds_a_blank_is_one_class(tmp_path: Path) -> None:
    assert written(tmp_path, "id,c\nx,Big dog\ny,Big dog\n") == "id,c\nx,Big dog\ny,cat\n"


def test_the_user_says_how_many_where_the_sample_does_not(tmp_path: Path) -> None:
    found = written(tmp_path, "id,c\nx,owl\ny,owl\n", ["cat", "dog", "owl"], top=2)
    assert found == "id,c\nx,dog owl\ny,cat dog\n"
    more = written(tmp_path, "id,c\nx,owl\ny,owl\n", ["cat", "dog", "owl"], top=9)
    assert more == "id,c\nx,dog owl cat\ny,cat dog owl\n"


def test_a_name_that_cannot_stand_between_blanks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'Big dog' holds one"):
        written(tmp_path, "id,c\nx,owl cat\ny,owl cat\n")
    with pytest.raises(DataError, match="leave out --top"):
        written(tmp_path, "id,cat,Big dog,owl\nx,0,0,0\ny,0,0,0\n", top=2)
    with pytest.raises(SettingError, match="--top 0"):
        written(tmp_path, "id,c\nx,owl\ny,owl\n", ["cat", "dog", "owl"], top=0)


@pytest.mark.parametrize(
    ("ids", "count", "rows"),
    [
        (["1", "2", "3"], 3, [0, 1, 2]),
        (["3", "1"], 3, [2, 0]),
        (["0", "1", "2"], 3, [0, 1, 2]),
        (["00002", "00000"], 3, [2, 0]),
        (["1", "2"], 3, None),  # from 0 or from 1
        (["0", "3"], 3, None),
        (["a", "1"], 2, None),
        (["-1", "1"], 2, None),
    ],
)
def test_ids_count_rows_where_only_one_beginning_fits(
    ids: list[str], count: int, rows: list[int] | None
) -> None:
    assert match_rows(ids, count) == rows


@pytest.mark.parametrize("start", [0, 1])
def test_rows_of_an_array_answer_ids_that_count_them(tmp_path: Path, start: int) -> None:
    (tmp_path / "s.csv").write_text(f"ImageId,Label\n{start + 1},cat\n{start},cat\n")
    names = ["x_test[0]", "x_test[1]"]
    sample = read_sample(tmp_path / "s.csv")
    assert submission_form(sample, names, CLASSES, by_row=True).indices.tolist() == [1, 0]
    with pytest.raises(DataError, match="no readable image"):
        submission_form(sample, names, CLASSES)
