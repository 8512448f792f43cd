"""Tables as people have them: with or without a header, one-hot, with a split of their own.

The cases 01, 07, 11, 12, 22 of the field and B7 of the attack: the right value, or one line with a
remedy that works when it is followed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError, RavineError, SettingError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.sources.several_labels import one_hot_labels
from ravine.data.sources.table_file import read_table_file


def _find(data: Path | str, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


def _line(found: Collection) -> str:
    assert found.understood is not None
    return found.understood.line()


def _images(folder: Path, names: Sequence[str]) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes a table next to 12 images, 0.png to 11.png, or to those that are named."""

    def make(text: str, images: Sequence[str] = (), name: str = "t.csv") -> Path:
        _images(tmp_path, images or [f"{n}.png" for n in range(12)])
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return make


Make = Callable[..., Path]


def _rows(columns: str, *, separator: str = ",", count: int = 12) -> str:
    rows = [columns.replace(",", separator)] if columns else []
    rows += [f"{n}.png{separator}{'cat' if n % 3 else 'dog'}" for n in range(count)]
    return "\n".join(rows)


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "   "])
@pytest.mark.parametrize("columns", ["image,label", "file name,class", ""])
def test_a_table_is_read_with_any_separator_and_without_a_header(
    table: Make, separator: str, columns: str
) -> None:
    if separator.isspace() and separator != "\t":
        columns = columns.replace("file name", "filename")

    found = _find(table(_rows(columns, separator=separator)))

    assert found.classes == ("cat", "dog")
    assert list(found.names) == [f"{n}.png" for n in range(12)]
    assert found.labels.tolist() == [0 if n % 3 else 1 for n in range(12)]
    assert ("without a header" in _line(found)) == (not columns)


def test_a_table_without_a_header_and_without_endings_is_read(table: Make) -> None:
    text = "\n".join(f"{n},{'cat' if n % 3 else 'dog'}" for n in range(12))

    assert len(_find(table(text)).names) == 12


def test_the_column_that_is_left_is_the_label(table: Make) -> None:
    text = "id_code,diagnosis\n" + "\n".join(f"{n},{n % 4}" for n in range(12))

    found = _find(table(text))

    assert found.classes == ("0", "1", "2", "3")
    assert "classes: column diagnosis, 4" in _line(found)


# Case 07 and B4: the table's own split.


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("is_valid", ["False"] * 9 + ["True"] * 3, ["train"] * 9 + ["validation"] * 3),
        ("split", list("000000111222"), ["train"] * 6 + ["validation"] * 3 + ["test"] * 3),
        ("split", ["TRAIN_SET"] * 8 + ["TEST_SET"] * 4, ["train"] * 8 + ["test"] * 4),
        ("set", ["tr"] * 8 + ["te"] * 4, ["train"] * 8 + ["test"] * 4),
        ("Usage", ["Training"] * 8 + ["PublicTest"] * 4, ["train"] * 8 + ["test"] * 4),
        (
            "split",
            ["development"] * 8 + ["evaluation"] * 4,
            ["train"] * 8 + ["test"] * 4,
        ),
        ("split", ["dev"] * 8 + ["test"] * 4, ["train"] * 8 + ["test"] * 4),
        (
            "split",
            ["train"] * 6 + ["dev"] * 3 + ["eval"] * 3,
            ["train"] * 6 + ["validation"] * 3 + ["test"] * 3,
        ),
        (
            "set",
            ["train"] * 6 + ["Development set"] * 3 + ["test"] * 3,
            ["train"] * 6 + ["validation"] * 3 + ["test"] * 3,
        ),
        ("split", ["train"] * 8 + ["eval"] * 4, ["train"] * 8 + ["validation"] * 4),
        ("is_test", ["0"] * 8 + ["1"] * 4, ["train"] * 8 + ["test"] * 4),
        ("is_training_image", ["1"] * 8 + ["0"] * 4, ["train"] * 8 + ["test"] * 4),
        ("kind of use", ["train"] * 8 + ["val"] * 4, ["train"] * 8 + ["validation"] * 4),
    ],
)  # fmt: skip
def test_the_split_of_a_column_is_followed(
    table: Make, column: str, values: list[str], expected: list[str]
) -> None:
    rows = [f"{n},{'xy'[n % 2]},{value}" for n, value in enumerate(values)]

    found = _find(table(f"name,label,{column}\n" + "\n".join(rows)))

    assert list(found.given_splits) == expected
    held_out = " and ".join(s for s in ("validation", "test") if s in expected)
    assert f"{held_out}: column {column}" in _line(found)
    assert ("dev" in values[0]) == ("is trained on)" in _line(found))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "split",
            ["0", "1"],
            r"column 'split' says 0, 1, which are no splits.*--split-column none",
        ),
        ("split", ["a", "b"], r"column 'split' says a, b, which are no splits"),
        ("fold", ["0", "1", "2"], r"says 0, 1, 2: folds, .*--split-column none; .*--group-column"),
        ("split", ["train", "holdout"], r"line 3: the column 'split' says 'holdout'; wanted is"),
        ("split", ["train", ""], r"line 3: the column 'split' says ''; wanted is"),
    ],
)
def test_a_split_that_is_not_understood_is_refused_and_the_remedy_works(
    table: Make, column: str, values: list[str], message: str
) -> None:
    rows = [f"{n},{'xy'[n // 3 % 2]},{values[n % len(values)]}" for n in range(12)]
    path = table(f"id,label,{column}\n" + "\n".join(rows))

    with pytest.raises(DataError, match=message) as caught:
        _find(path)
    assert len(str(caught.value)) <= 200
    assert _find(path, split_column="none").given_splits == ()
    if column == "fold":
        assert set(_find(path, group_column="fold").groups) == {"0", "1", "2"}


def test_two_columns_that_give_splits_are_refused_and_one_can_be_named(table: Make) -> None:
    rows = [f"{n},{'xy'[n % 2]},{'train' if n < 9 else 'test'},{n % 2}" for n in range(12)]
    path = table("id,label,split,is_valid\n" + "\n".join(rows))

    with pytest.raises(DataError, match="split, is_valid may all give the split"):
        _find(path)
    assert _find(path, split_column="split").given_splits[9] == "test"


def test_a_table_with_test_and_validation_rows_only_is_not_trained_on(table: Make) -> None:
    rows = [f"{n},{'xy'[n % 2]},{'val' if n < 9 else 'test'}" for n in range(12)]

    with pytest.raises(DataError, match="has no training split, only test and validation"):
        open_dataset(
            DataSettings.of({"data": str(table("id,label,split\n" + "\n".join(rows)))}), seed=0
        )


def test_images_in_a_folder_for_test_are_not_trained_on(table: Make) -> None:
    names = [f"{'train' if n < 9 else 'test'}/{n}.png" for n in range(12)]
    rows = [f"{name},{'xy'[n % 2]}" for n, name in enumerate(names)]
    path = table("image,label\n" + "\n".join(rows), names)

    found = _find(path)

    assert list(found.given_splits) == ["train"] * 9 + ["test"] * 3
    assert "test: the folders of the images" in _line(found)
    assert _find(path, split_column="none").given_splits == ()
    path.write_text("image,label,split\n" + "\n".join(f"{row},train" for row in rows))
    with pytest.raises(DataError, match=r"line 11: 'test/9.png' is for training by the column"):
        _find(path)


# Case 11: one-hot columns, several labels.

HOT = "image_id,healthy,multiple_diseases,rust,scab\n"


def test_one_hot_columns_are_classes_by_their_names(table: Make) -> None:
    rows = [f"{n}," + ",".join("01"[n % 4 == c] for c in range(4)) for n in range(12)]

    found = _find(table(HOT + "\n".join(rows)))

    assert found.classes == ("healthy", "multiple_diseases", "rust", "scab")
    assert found.labels.tolist() == [n % 4 for n in range(12)]
    assert "classes: one-hot columns, 4" in _line(found)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2,0,0,1,1", r"line 4: rust, scab are all 1: several labels; .*--label-column rust"),
        ("2,0,0,0,0", r"line 4: none of the columns healthy, multiple_diseases, rust, scab is 1"),
    ],
)
def test_rows_that_are_not_one_hot_are_several_labels_or_refused_if_one_is_asked_for(
    table: Make, row: str, message: str
) -> None:
    rows = [f"{n}," + ",".join("01"[n % 4 == c] for c in range(4)) for n in range(12)]
    rows[2] = row
    path = table(HOT + "\n".join(rows))

    found = _find(path)
    assert found.labels[2].tolist() == [int(value) for value in row.split(",")[1:]]
    assert found.labels[3].tolist() == [0, 0, 0, 1]
    with pytest.raises(DataError, match=message):
        _find(path, labels_per_image="one")
    assert _find(path, label_column="rust").classes == ("0", "1")


def test_a_share_in_a_one_hot_column_is_named(table: Make) -> None:
    with pytest.raises(DataError, match=r"t.csv, line 9: the column 'b' says '0.6'; wanted is 0"):
        one_hot_labels("t.csv", ["a", "b"], ["0", "0.6"], 9)
    rows = "\n".join(f"{n},{n % 2},{0.3 if n == 4 else 1}" for n in range(12))
    with pytest.raises(DataError, match=r"line 6: the column 'b' says '0.3'; wanted is 0 or 1"):
        _find(table("image,a,b\n" + rows))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["scab", "rust", "scab rust", "healthy"], "healthy rust scab"),
        (["a|b", "a", "b", "c"], "a b c"),
        (["a;b", "a", "b", "c"], "a b c"),
        (["['a', 'b']", "['a']", "['b']", "['c']"], "a b c"),
        (['"a, b"', "a", "b", "c"], "a b c"),
        (["5 6", "6 7", "5 7", "5 6 7", "6", "7 6"], "5 6 7"),
    ],
)
def test_cells_of_several_labels_are_separated(
    table: Make, labels: list[str], classes: str
) -> None:
    cells = [labels[n % len(labels)].strip('"') for n in range(12)]
    path = table("image,labels\n" + "\n".join(f'{n},"{cell}"' for n, cell in enumerate(cells)))

    found = _find(path)
    assert found.classes == tuple(classes.split())
    for cell, row in zip(cells, found.labels, strict=True):
        assert [int(name in cell) for name in found.classes] == row.tolist()
    assert len(_find(path, labels_per_image="one").classes) == len(set(labels))


def test_words_that_may_be_several_labels_or_one_name_are_refused_and_both_are_named(
    table: Make,
) -> None:
    labels = ["clear road", "haze road", "clear river", "road"]
    path = table("image,tags\n" + "\n".join(f"{n},{labels[n % 4]}" for n in range(12)))

    with pytest.raises(DataError, match=r"--labels-per-image several, or one$"):
        _find(path, label_column="tags")
    several = _find(path, label_column="tags", labels_per_image="several")
    assert several.classes == ("clear", "haze", "river", "road")
    one = _find(path, label_column="tags", labels_per_image="one")
    assert one.classes == tuple(sorted(labels))


def test_rows_of_one_image_are_its_labels_where_several_are_asked_for(table: Make) -> None:
    rows = [f"{n % 6},{'abc'[n // 6 + n % 2]}" for n in range(12)]
    path = table("image,label\n" + "\n".join(rows))

    with pytest.raises(DataError, match="have several labels: --labels-per-image several"):
        _find(path)
    found = _find(path, labels_per_image="several")
    assert found.labels.tolist() == [[1, 1, 0], [0, 1, 1]] * 3


def test_an_image_without_a_label_is_one_of_none_only_where_several_are_asked_for(
    table: Make,
) -> None:
    path = table("image,label\n" + "\n".join(f"{n},{['a', 'b', ''][n % 3]}" for n in range(12)))

    with pytest.raises(DataError, match=r"line 4: '2' has no label"):
        _find(path)
    found = _find(path, labels_per_image="several")
    assert found.labels.tolist() == [[1, 0], [0, 1], [0, 0]] * 4
    path.write_text(path.read_text().replace(",a", ",a|b"))
    with pytest.raises(DataError, match="or if it has none: --labels-per-image several"):
        _find(path)


def test_a_separator_of_letters_is_refused() -> None:
    with pytest.raises(SettingError, match="takes one to three characters that are no letters"):
        DataSettings.of({"label_separator": "and"})


@pytest.mark.parametrize(
    "labels", [["golden retriever", "red fox", "red panda"], ["class 1", "class 2", "class 3"]]
)
def test_a_class_of_two_words_is_one_class(table: Make, labels: list[str]) -> None:
    rows = [f"{n},{labels[n % 3]}" for n in range(12)]

    assert list(_find(table("image,label\n" + "\n".join(rows))).classes) == labels


# Case 22 and B7: rows that do not fit.


def test_equal_rows_count_once_and_contrary_rows_are_refused_with_both_lines(table: Make) -> None:
    text = _rows("image,label")

    found = _find(table(text + "\n1.png,cat\n0.png,dog"))

    assert len(found.names) == 12
    assert "left out: 2 repeated rows" in _line(found)
    with pytest.raises(DataError, match=r"'1.png' is in line 3 and again in line 14, with label"):
        _find(table(text + "\n1.png,dog"))


def test_files_with_the_same_bytes_are_one_image(table: Make, tmp_path: Path) -> None:
    path = table("image,label\n" + "\n".join(f"i{n},{'xy'[n % 2]}" for n in range(4)),
                 [f"part_1/i{n}.jpg" for n in range(4)])  # fmt: skip
    (tmp_path / "PART_2").mkdir()
    for n in range(4):
        (tmp_path / f"PART_2/i{n}.jpg").write_bytes((tmp_path / f"part_1/i{n}.jpg").read_bytes())

    found = _find(path)

    assert len(found.names) == 4
    assert "4 files with the bytes of another" in _line(found)
    assert found.unlabelled == []
    (tmp_path / "PART_2/i0.jpg").write_bytes(b"another")
    with pytest.raises(DataError, match="'i0' fits several images"):
        _find(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\n0.png,cat, young\n1.png,dog", r"line 2: 3 fields, the header has 2; put a"),
        ("image,label,label\n0.png,cat,dog", r"has two columns 'label'; rename one of them"),
        ("image,image,label\n0.png,1.png,dog", r"has two columns 'image'"),
        ("image,label\n0.png,\n1.png,dog", r"line 2: '0.png' has no label"),
        ('image,label\n"0.png,cat\n1.png,dog', r"line|no image"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused(table: Make, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _find(table(text))


def test_empty_fields_at_the_end_of_rows_do_no_harm(table: Make) -> None:
    text = _rows("image,label").replace("\n", ",,\n")

    assert len(_find(table(text.replace("image,label,,", "image,label"))).names) == 12


# Case 12 and the reach: long lines, wide tables.


def test_a_line_about_a_wide_table_has_at_most_200_letters(table: Make) -> None:
    columns = ["label", *(f"pixel{n}" for n in range(784))]
    path = table(",".join(columns) + "\n" + ",".join(["3"] + ["0"] * 784))

    with pytest.raises(DataError, match=r"pixel0.*… \(785\)") as caught:
        _find(path, layout="table")
    assert len(str(caught.value)) <= 200


def test_a_wide_table_takes_time_by_its_size_only(
    tmp_path: Path, least_seconds: Callable[[Callable[[], object]], float]
) -> None:
    def seconds(columns: int) -> float:
        path = tmp_path / f"{columns}.csv"
        path.write_text(
            ",".join(f"c{n}" for n in range(columns)) + "\n" + ",".join(["0"] * columns)
        )
        return least_seconds(lambda: list(read_table_file(path).rows()))

    assert seconds(100_000) < 40 * seconds(10_000)  # quadratic: 100 times


# Tables joined by an id.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.csv", "id,name\n10,cat\n2,dog\n7,unused"),
        ("label_map.json", '{"10": "cat", "2": "dog"}'),
        ("classes.txt", "2 dog\n10 cat"),
        ("class_names.csv", "name,id\ncat,10\ndog,2"),
    ],
)
def test_a_file_next_to_the_table_names_its_numbers(table: Make, name: str, content: str) -> None:
    path = table("id,label\n" + "\n".join(f"{n},{2 if n % 3 else 10}" for n in range(12)))
    (path.parent / name).write_text(content)

    found = _find(path)

    assert found.classes == ("dog", "cat")  # in the order of the numbers
    assert found.labels.tolist() == [0 if n % 3 else 1 for n in range(12)]
    assert f"named by {name}" in _line(found)


def test_names_that_lack_a_number_are_not_taken(table: Make) -> None:
    path = table("id,label\n" + "\n".join(f"{n},{n % 3}" for n in range(12)))
    (path.parent / "classes.csv").write_text("id,name\n0,cat\n1,dog")

    assert _find(path).classes == ("0", "1", "2")


def test_two_files_that_name_numbers_differently_are_refused(table: Make) -> None:
    path = table("id,label\n" + "\n".join(f"{n},{n % 2}" for n in range(12)))
    (path.parent / "classes.csv").write_text("id,name\n0,cat\n1,dog")
    (path.parent / "label_map.json").write_text('{"0": "dog", "1": "cat"}')

    with pytest.raises(DataError, match=r"name the classes of t.csv differently"):
        _find(path)


# Tables in folders of images: case 01's variants.


def test_metadata_in_each_split_is_read(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("test", 4)):
        _images(tmp_path / "d" / split, [f"{n}.png" for n in range(count)])
        rows = [f"{n}.png,{'cat' if n % 2 else 'dog'}" for n in range(count)]
        (tmp_path / "d" / split / "metadata.csv").write_text("file_name,label\n" + "\n".join(rows))

    found = _find(tmp_path / "d")

    assert found.classes == ("cat", "dog")
    assert found.given_splits.count("test") == 4
    assert found.names[-1] == "train/7.png"
    assert "splits: test test/, train train/" in _line(found)


def test_one_hot_tables_in_each_split_are_read(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("valid", 4), ("test", 4)):
        _images(tmp_path / "d" / split, [f"{n}.jpg" for n in range(count)])
        rows = [f"{n}.jpg, {n % 2}, {1 - n % 2}" for n in range(count)]
        (tmp_path / "d" / split / "_classes.csv").write_text(
            "filename, cat, dog\n" + "\n".join(rows)
        )

    found = _find(tmp_path / "d")

    assert found.classes == ("cat", "dog")
    assert [found.given_splits.count(s) for s in ("train", "validation", "test")] == [8, 4, 4]
    assert found.labels[:2].tolist() == [1, 0]


def test_metadata_next_to_class_folders_is_two_readings(tmp_path: Path) -> None:
    root = _images(tmp_path / "d", [f"{c}/{n}.png" for c in ("x", "y") for n in range(4)])
    rows = [f"{c}/{n}.png,{'even' if n % 2 else 'odd'}" for c in ("x", "y") for n in range(4)]
    (root / "metadata.csv").write_text("file_name,label\n" + "\n".join(rows))

    with pytest.raises(DataError, match=r"two ways: --layout split-tables .*--layout folders"):
        _find(root)
    assert _find(root, layout="split-tables").classes == ("even", "odd")
    assert _find(root, layout="folders").classes == ("x", "y")


@pytest.mark.parametrize("text", ["", "\n", "image", "image,label", "\ufeff", "a\0b,c\n1,2", '"'])
def test_no_table_ends_in_a_traceback(table: Make, text: str) -> None:
    with pytest.raises(RavineError):
        _find(table(text))
