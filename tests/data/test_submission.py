import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.core.errors import DataError
from ravine.data.submission import match_ids, read_sample, write_predictions, write_submission
from ravine.data.submission_form import submission_form

NAMES = ["sub/b 1.jpg", "a,2.png", "“c”.jpeg"]
CLASSES = ["cat", "Big dog", "鳥"]
P = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.0, 0.1, 0.9]], np.float32)


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _sample(path: Path, head: str, ids: list[str], filling: str) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head.split(","))
        writer.writerows([name, *filling.split(",")] for name in ids)
    return path


def test_labels_keep_ids_order_and_columns_of_the_sample(tmp_path: Path) -> None:
    sample = _sample(tmp_path / "s.csv", "id,label", ["“c”", "b 1.jpg", "a,2"], "cat")
    write_submission(tmp_path / "o.csv", read_sample(sample), NAMES, CLASSES, P)
    assert _read(tmp_path / "o.csv") == [
        ["id", "label"],
        ["“c”", "鳥"],
        ["b 1.jpg", "Big dog"],
        ["a,2", "cat"],
    ]


@pytest.mark.parametrize(
    "head",
    [
        "id,鳥,cat,big_dog",
        "id,class_鳥,class_cat,class_Big dog",
        "id,2,0,1",
        "id,label_2,label_0,label_1",
    ],
)
def test_a_column_per_class_is_matched_by_name_prefix_or_number(tmp_path: Path, head: str) -> None:
    sample = _sample(tmp_path / "s.csv", head, ["b 1", "a,2"], "0,0,0")
    write_submission(tmp_path / "o.csv", read_sample(sample), NAMES, CLASSES, P)
    rows = _read(tmp_path / "o.csv")
    assert rows[0] == head.split(",")
    assert [float(value) for value in rows[1][1:]] == pytest.approx([0.2, 0.1, 0.7])


@pytest.mark.parametrize(
    ("head", "ids", "message"),
    [
        ("id,label", ["b 1", "lost", "gone"], "no readable image for 2 of 3 ids: 'lost', 'gone'"),
        ("id,cat,dog,鳥", ["b 1"], "the column 'dog' is no class of the network"),
        ("id,cat,鳥", ["b 1"], "2 class columns and the network 3 classes"),
        ("id,label", ["b 1", "b 1"], "the id 'b 1' occurs twice"),
    ],
)
def test_what_does_not_fit_is_reported_and_nothing_written(
    tmp_path: Path, head: str, ids: list[str], message: str
) -> None:
    sample = _sample(tmp_path / "s.csv", head, ids, ",".join("0" for _ in head.split(",")[1:]))
    with pytest.raises(DataError, match=message):
        write_submission(tmp_path / "o.csv", read_sample(sample), NAMES, CLASSES, P)
    assert not (tmp_path / "o.csv").exists()


def test_an_id_that_fits_two_images_is_reported() -> None:
    with pytest.raises(DataError, match=r"fits a/x.png and b/x.png"):
        match_ids(["x"], ["a/x.png", "b/x.png"], "s.csv")
    assert match_ids(["b/x"], ["a/x.png", "b/x.png"], "s.csv") == [1]


words = st.text(st.characters(codec="utf-8", exclude_characters="/\x00\\"), min_size=1, max_size=8)


@given(
    st.lists(words.filter(lambda w: w.strip(". ") == w), min_size=1, max_size=6, unique=True),
    st.randoms(),
)
def test_ids_in_any_order_find_their_images(stems: list[str], chance) -> None:  # type: ignore[no-untyped-def]
    names = [f"{stem}.png" for stem in stems]
    shuffled = list(range(len(stems)))
    chance.shuffle(shuffled)
    assert match_ids([names[i] for i in shuffled], names, "s.csv") == shuffled


def test_plain_predictions_have_class_probability_and_all_probabilities(tmp_path: Path) -> None:
    write_predictions(tmp_path / "o.csv", NAMES, CLASSES, P)
    rows = _read(tmp_path / "o.csv")
    assert rows[0] == ["image", "class", "probability", *CLASSES]
    assert rows[2] == ["a,2.png", "cat", "0.5", "0.5", "0.3", "0.2"]


def test_the_remedy_for_missing_images_is_given_where_it_works() -> None:
    with pytest.raises(DataError, match=r"1 of 3 ids.*--missing prior"):
        match_ids(["a", "b", "c"], ["a.png", "b.png"], "s.csv")
    with pytest.raises(DataError, match=r"2 of 3 ids.*name the images that the sample asks for"):
        match_ids(["a", "b", "c"], ["a.png"], "s.csv")


@pytest.mark.parametrize("cell", ["0.0", "1.0", "0.00"])
def test_a_number_written_as_a_fraction_wants_a_probability(tmp_path: Path, cell: str) -> None:
    (tmp_path / "s.csv").write_text(f"id,target\na,{cell}\nb,{cell}\n")
    sample = read_sample(tmp_path / "s.csv")

    form = submission_form(sample, ["a.png", "b.png"], ["0", "1"])

    assert form.order == (1,)
    with pytest.raises(DataError, match="--positive CLASS"):
        submission_form(sample, ["a.png", "b.png"], ["cat", "dog", "emu"])


def test_ids_find_their_images_in_other_case_and_without_zeros() -> None:
    assert match_ids(["0", "2"], ["000.jpg", "001.jpg", "002.jpg"], "s.csv") == [0, 2]
    assert match_ids(["A.JPG", "te/b"], ["te/a.jpg", "te/B.jpg"], "s.csv") == [0, 1]
    with pytest.raises(DataError, match=r"fits 01\.jpg and 001\.jpg"):
        match_ids(["1"], ["01.jpg", "001.jpg"], "s.csv")
