"""Accepted forms of a sample submission; no image gets the prediction of another."""

import csv
import tracemalloc
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.core.errors import DataError, SettingError
from ravine.data.matching import match_columns, match_ids
from ravine.data.submission import read_sample, write_form, write_predictions, write_submission
from ravine.data.submission_form import submission_form

NAMES = ["x.png", "y.png"]
CLASSES = ["cat", "Big dog", "owl"]
P = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], np.float32)


def _written(folder: Path, text: str, classes: list[str] = CLASSES, p: np.ndarray = P) -> str:
    (folder / "s.csv").write_bytes(text.encode())
    write_submission(folder / "o.csv", read_sample(folder / "s.csv"), NAMES, classes, p)
    return (folder / "o.csv").read_bytes().decode()


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("id,label\ny,0\nx,2\n", "id,label\ny,0\nx,1\n"),
        ("id,label\ny,big_dog\nx,owl\n", "id,label\ny,cat\nx,big_dog\n"),
        ("id,label\ny,-1\nx,-1\n", "id,label\ny,cat\nx,Big dog\n"),
        ("id,label\ny,\nx,\n", "id,label\ny,cat\nx,Big dog\n"),
        ("id,big_dog\ny,0.5\nx,0.5\n", "id,big_dog\ny,0.3\nx,0.7\n"),
        ("id;label\ny;cat\nx;cat\n", "id;label\ny;cat\nx;Big dog\n"),
        ("label,id\ncat,y\ncat,x\n", "label,id\ncat,y\nBig dog,x\n"),
        (
            "owl,image,cat,Big dog\n0,y,0,0\n0,x,0,0\n",
            "owl,image,cat,Big dog\n0.2,y,0.5,0.3\n0.2,x,0.1,0.7\n",
        ),
        ("id,label\n y,cat\n", "id,label\n y,cat\n"),
        ("\ufeffid,label\r\ny,cat\r\n\r\nx,cat\r\n", "id,label\ny,cat\nx,Big dog\n"),
    ],
)
def test_the_sample_decides_the_form(tmp_path: Path, sample: str, expected: str) -> None:
    assert _written(tmp_path, sample) == expected


def test_numbers_are_names_where_classes_have_numbers_for_names(tmp_path: Path) -> None:
    sample = "id,label\nx,0\ny,0\n"
    assert _written(tmp_path, sample, ["1", "2", "3"]) == "id,label\nx,2\ny,1\n"


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (
            "id,label\nx,0.5\n",
            "holds 0.5, so it wants the probability of one class; name it with --positive CLASS",
        ),
        ("id,cat,Big dog,owl\nx,0,0\n", "line 2: 3 values where the header has 4"),
        ("id,cat,cat,owl\nx,0,0,0\n", "line 1: the column 'cat' occurs twice"),
        ("id,label\n,cat\n", "line 2: an empty id"),
        ("id,label\n", "holds no rows below its header"),
        ("", "has one column only"),
        ("id\nx\n", "has one column only"),
        ("id,label\nx,cat\nx.png,cat\n", "the ids 'x' and 'x.png' both fit x.png"),
        ("id,cat,Big dog,owl,rest\nx,0,0,0,0\n", "the column 'rest' is no class of the network"),
    ],
)
def test_a_sample_that_cannot_be_followed_is_reported(
    tmp_path: Path, sample: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _written(tmp_path, sample)
    assert not (tmp_path / "o.csv").exists()


def test_a_sample_that_is_missing_or_no_text_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        read_sample(tmp_path / "none.csv")
    (tmp_path / "s.csv").write_bytes(b"id,label\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        read_sample(tmp_path / "s.csv")


def test_probabilities_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    broken = P.copy()
    broken[1, 2] = np.nan
    with pytest.raises(DataError, match=r"no finite probabilities for y\.png; nothing written"):
        _written(tmp_path, "id,label\nx,cat\ny,cat\n", p=broken)
    assert not (tmp_path / "o.csv").exists()


def test_an_old_submission_stays_where_a_new_one_fails(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("old")
    with pytest.raises(DataError, match="no readable image for 1 of 1 ids: 'lost'"):
        _written(tmp_path, "id,label\nlost,cat\n")
    assert (tmp_path / "o.csv").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.csv", "s.csv"]


def test_an_image_of_another_folder_does_not_stand_in_for_a_missing_one() -> None:
    with pytest.raises(DataError, match="no readable image for 1 of 2 ids: 'b/x'"):
        match_ids(["a/x", "b/x"], ["a/x.png", "b/y.png"], "s.csv")


@pytest.mark.parametrize(
    ("name", "names", "index"),
    [
        ("x", ["x.png", "x"], 1),
        ("x.png", ["x.png.jpg", "x.png"], 1),
        ("test/x.png", ["y.png", "x.png"], 1),
        ("test\\x.png", ["train/x.png", "test/x.png"], 1),
        ("./test/x", ["train/x.png", "test/x.png"], 1),
        ("e\u0301", ["e.png", "\u00e9.png"], 1),
        ("v1.2", ["v1.png", "v1.2.png"], 1),
        ("x", ["a/x.png", "x.png"], 1),
        ("a/x", ["b/a/x.png", "a/x.png"], 1),
        (" x", ["x.png", " x.png"], 1),
        (" x", ["y.png", "x.png"], 1),
    ],
)
def test_an_id_finds_its_image(name: str, names: list[str], index: int) -> None:
    assert match_ids([name], names, "s.csv") == [index]


def test_classes_that_differ_by_case_alone_keep_their_columns() -> None:
    assert match_columns(["class_a", "class_A"], ["A", "a"], "s.csv") == [1, 0]


def test_numbers_in_columns_are_not_taken_for_places_where_classes_have_numbers() -> None:
    assert match_columns(["class_10", "class_7"], ["7", "10"], "s.csv") == [1, 0]
    with pytest.raises(DataError, match="the column 'class_0' is no class"):
        match_columns(["class_0", "class_1"], ["1", "2"], "s.csv")


cells = st.text(st.characters(codec="utf-8", exclude_characters="/\\\x00"), min_size=1, max_size=8)
stems = cells.filter(lambda w: w.strip() == w and w.strip(". ") == w and not w.startswith("\ufeff"))


@given(
    stems=st.lists(stems, min_size=1, max_size=5, unique_by=partial(unicodedata.normalize, "NFC")),
    classes=st.lists(stems, min_size=2, max_size=4, unique=True),
    with_ending=st.booleans(),
    separator=st.sampled_from(",;\t"),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None)
def test_any_names_come_back_with_their_own_probabilities(
    tmp_path_factory: pytest.TempPathFactory,
    stems: list[str],
    classes: list[str],
    with_ending: bool,
    separator: str,
    random: Random,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    names = [f"{stem}.png" for stem in stems]
    p = np.random.default_rng(len(stems)).dirichlet(np.ones(len(classes)), len(stems))
    ids = random.sample(names if with_ending else stems, len(stems))
    columns = random.sample(classes, len(classes))
    with (folder / "s.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL)
        writer.writerows([["the id", *columns], *([i, *"0" * len(classes)] for i in ids)])
    write_submission(folder / "o.csv", read_sample(folder / "s.csv"), names, classes, p)
    with (folder / "o.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file, delimiter=separator)
    assert head == ["the id", *columns]
    assert [row[0] for row in rows] == ids
    for row in rows:
        index = names.index(row[0] if with_ending else f"{row[0]}.png")
        expected = [p[index][classes.index(column)] for column in columns]
        np.testing.assert_allclose([float(v) for v in row[1:]], expected, atol=1e-5)


TWO = np.array([[0.3, 0.7], [0.8, 0.2]], np.float32)


@pytest.mark.parametrize(
    ("classes", "sample", "expected", "told"),
    [
        (["0", "1"], "id,has_cactus\ny,0.5\nx,0.5\n", "id,has_cactus\ny,0.2\nx,0.7\n", "of '1'"),
        (["cat", "dog"], "id,label\ny,0.5\nx,0.5\n", "id,label\ny,0.2\nx,0.7\n", "of 'dog'"),
        (["bird", "no bird"], "id,t\ny,0.5\nx,0.5\n", "id,t\ny,0.8\nx,0.3\n", "of 'bird'"),
        (
            ["cactus", "empty"],
            "id,has_cactus\ny,0\nx,0\n",
            "id,has_cactus\ny,0.8\nx,0.3\n",
            "of 'c",
        ),
        (["0", "1"], "id,label\ny,0\nx,0\n", "id,label\ny,0\nx,1\n", "--positive CLASS"),
        (["a", "b"], "id,label\ny,0\nx,1\n", "id,label\ny,0\nx,1\n", "--positive CLASS"),
        (["00007", "00016"], "id,y\ny,16\nx,7\n", "id,y\ny,7\nx,16\n", "without zeros"),
    ],
)
def test_a_single_column_of_two_classes_takes_what_the_sample_shows(
    tmp_path: Path, classes: list[str], sample: str, expected: str, told: str
) -> None:
    (tmp_path / "s.csv").write_text(sample)
    found = read_sample(tmp_path / "s.csv")
    summary = write_submission(tmp_path / "o.csv", found, ["x.png", "y.png"], classes, TWO)
    assert (tmp_path / "o.csv").read_text() == expected
    assert told in summary


def test_a_named_class_gives_its_probability_whatever_the_sample_holds(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,label\ny,0\nx,0\n")
    sample, names = read_sample(tmp_path / "s.csv"), ["x.png", "y.png"]
    form = submission_form(sample, names, ["cat", "dog"], positive="cat")
    write_form(tmp_path / "o.csv", sample, form, names, iter([TWO[[1]], TWO[[0]]]))
    assert (tmp_path / "o.csv").read_text() == "id,label\ny,0.8\nx,0.3\n"
    with pytest.raises(SettingError, match="--positive 'owl' is no class of the network"):
        submission_form(sample, names, ["cat", "dog"], positive="owl")


def test_an_id_without_an_image_is_answered_by_the_training_shares(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,dog,cat\ntorn,0,0\ny,0,0\nx,0,0\n")
    sample, names, classes = read_sample(tmp_path / "s.csv"), ["x.png", "y.png"], ["cat", "dog"]
    with pytest.raises(DataError, match="1 of 3 ids: 'torn'; nothing written; --missing prior"):
        submission_form(sample, names, classes)
    form = submission_form(sample, names, classes, missing=True)
    assert form.wanted.tolist() == [1, 0]
    prior = np.array([0.25, 0.75])
    write_form(tmp_path / "o.csv", sample, form, names, TWO[form.wanted], prior=prior)
    assert (tmp_path / "o.csv").read_text() == "id,dog,cat\ntorn,0.75,0.25\ny,0.2,0.8\nx,0.7,0.3\n"
    with pytest.raises(DataError, match="no readable image for 2 of 3 ids"):
        submission_form(sample, names[:1], classes, missing=True)


@pytest.mark.slow
@pytest.mark.parametrize("form", [False, True])
def test_rows_are_written_as_they_come_and_an_error_leaves_the_old_file(
    tmp_path: Path, form: bool
) -> None:
    classes = [f"c{k}" for k in range(1000)]
    names = [f"{i}.png" for i in range(1000)]
    block = np.full((100, 1000), 0.001, np.float32)
    (tmp_path / "o.csv").write_text("old")
    sizes = []

    def blocks(*, torn: bool) -> Iterator[np.ndarray]:
        for index in range(10):
            part = list(tmp_path.glob(".o.csv.*"))
            sizes.append(part[0].stat().st_size if part else 0)
            yield block * np.nan if torn and index == 9 else block

    if form:
        (tmp_path / "s.csv").write_text("id,c7\n" + "".join(f"{i},0\n" for i in range(1000)))
        sample = read_sample(tmp_path / "s.csv")
        wanted = submission_form(sample, names, classes)

        def write(found: Iterator[np.ndarray]) -> None:
            write_form(tmp_path / "o.csv", sample, wanted, names, found)
    else:

        def write(found: Iterator[np.ndarray]) -> None:
            write_predictions(tmp_path / "o.csv", names, classes, found)

    with pytest.raises(DataError, match=r"no finite probabilities for 900\.png"):
        write(blocks(torn=True))
    assert (tmp_path / "o.csv").read_text() == "old"
    assert not list(tmp_path.glob(".o.csv.*"))
    tracemalloc.start()
    write(blocks(torn=False))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 1001
    if not form:
        assert sizes[-1] > 4e6  # most of 6 MB lie on the disk before the last batch comes
        assert peak < 4e6
