"""Tables in unusual spellings: read as they are meant, or refused with what to say.

Sets of labels as databases and people write them, marks in place of 0 and 1, and what programs put
above or beside the columns: Excel's `sep=;`, comments, the row's number of pandas.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.label_sets import has_several
from ravine.data.settings import DataSettings

SETS: list[tuple[str, ...]] = [("scab",), ("rust",), ("scab", "rust"), ()]


def _find(data: Path, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a table next to 12 images, 0.png to 11.png."""

    def make(text: str) -> Path:
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        return tmp_path / "t.csv"

    return make


Make = Callable[[str], Path]


def _table_of(cell: Callable[[tuple[str, ...]], str], header: str = "name,label") -> str:
    return "\n".join([header, *(f"{n}.png,{cell(SETS[n % 4])}" for n in range(12))])


def _sets(found: Collection) -> list[tuple[str, ...]]:
    assert has_several(found.labels)
    return [tuple(c for c, y in zip(found.classes, row, strict=True) if y) for row in found.labels]


@pytest.mark.parametrize(
    "cell",
    [
        lambda labels: '"{' + ",".join(labels) + '}"',  # a set of PostgreSQL
        lambda labels: '"[' + ",".join(f"'{label}'" for label in labels) + ']"',
        lambda labels: (
            '"' + str({n: int(n in labels) for n in ("scab", "rust")}).replace("'", '""') + '"'
        ),  # JSON
    ],
)
def test_sets_in_brackets_are_several_labels(
    table: Make, cell: Callable[[tuple[str, ...]], str]
) -> None:
    found = _find(table(_table_of(cell)))

    assert found.classes == ("rust", "scab")
    assert _sets(found) == [tuple(sorted(SETS[n % 4])) for n in range(12)]


@pytest.mark.parametrize("joint", [" and ", "_", "-", " - "])
def test_a_combination_whose_parts_are_classes_too_is_not_made_a_class_in_silence(
    table: Make, joint: str
) -> None:
    data = table(_table_of(lambda labels: joint.join(labels) or "healthy"))

    with pytest.raises(DataError, match="may be several labels or a name with") as raised:
        _find(data)
    assert "--labels-per-image several, or one" in str(raised.value)
    assert _sets(_find(data, labels_per_image="several"))[2] == ("rust", "scab")
    assert len(_find(data, labels_per_image="one").classes) == 4


def test_words_between_blanks_are_no_labels_where_a_mark_stands_between_known_ones(
    table: Make,
) -> None:
    found = _find(table(_table_of(lambda labels: " & ".join(labels) or "healthy")))

    assert found.classes == ("healthy", "rust", "scab")


@pytest.mark.parametrize(
    ("yes", "no"), [("yes", "no"), ("Y", "N"), ("t", "f"), ("X", ""), ("1", ""), ("1", "-1")]
)
def test_columns_of_marks_are_labels(table: Make, yes: str, no: str) -> None:
    def cells(labels: tuple[str, ...]) -> str:
        return ",".join(yes if name in labels else no for name in ("scab", "rust"))

    found = _find(table(_table_of(cells, "name,scab,rust")))

    assert found.classes == ("scab", "rust")
    assert _sets(found) == [SETS[n % 4] for n in range(12)]


def test_an_empty_cell_among_0_and_1_is_a_mistake_and_no_0(table: Make) -> None:
    rows = ["name,scab,rust", *(f"{n}.png,{n % 2},{'' if n == 5 else 1}" for n in range(12))]

    with pytest.raises(DataError, match="line 7: the column 'rust' says ''; wanted is 0 or 1"):
        _find(table("\n".join(rows)))


def test_the_row_s_number_of_pandas_is_no_label_beside_one_hot_columns(table: Make) -> None:
    rows = [",name,scab,rust", *(f"{n},{n}.png,{n % 2},{1 - n % 2}" for n in range(12))]

    assert _find(table("\n".join(rows))).classes == ("rust", "scab")


def test_the_row_s_number_of_pandas_does_not_make_equal_rows_contrary(table: Make) -> None:
    rows = [",name,label", *(f"{n},{n % 12}.png,{'ab'[n % 2]}" for n in range(15))]

    assert len(_find(table("\n".join(rows))).names) == 12


@pytest.mark.parametrize(
    "above",
    ["sep=;\nname;label\n", "# from the lab, 2024\n#\nname;label\n", "#name;label\n"],
)
def test_what_stands_above_the_columns_is_passed_over(table: Make, above: str) -> None:
    rows = "\n".join(f"{n}.png;{'ab'[n % 2]}" for n in range(12))

    found = _find(table(above + rows))

    assert found.classes == ("a", "b")
    assert len(found.names) == 12


def test_a_number_that_became_a_fraction_finds_its_image(table: Make) -> None:
    rows = "\n".join(f"{n}.0,{'ab'[n % 2]}" for n in range(12))

    assert list(_find(table("id,label\n" + rows)).names) == [f"{n}.png" for n in range(12)]


def test_a_column_without_any_value_is_passed_over(table: Make) -> None:
    rows = ["name,scab,rust,notes", *(f"{n}.png,{n % 2},{1 - n % 2}," for n in range(12))]

    assert _find(table("\n".join(rows))).classes == ("rust", "scab")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(("separator", "name"), [("\t", "t.csv"), ("\t", "t.txt"), (",", "t.csv")])
def test_a_table_is_in_what_its_byte_order_mark_says(
    table: Make, encoding: str, separator: str, name: str
) -> None:
    rows = ["name,label", *(f"{n}.png,{('Löwe', 'Katze')[n % 2]}" for n in range(12))]
    text = "\r\n".join(rows).replace(",", separator)
    mark = "" if encoding in ("utf-16", "utf-32", "utf-8-sig") else "\ufeff"
    path = table("").with_name(name)
    path.write_bytes(f"{mark}{text}".encode(encoding))

    found = _find(path)

    assert found.classes == ("Katze", "Löwe")
    assert len(found.names) == 12


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "name,label\n0.png,Löwe\n".encode("latin-1"),
            r"t\.csv, line 2 cannot be .* UTF-8 text: the byte 0xf6 is none; save it as UTF-8$",
        ),
        ("name,label\n0.png,a\n".encode("utf-16-le"), "UTF-16 without its mark; save it as UTF-8$"),
        (
            b"\xff\xfe" + "name,label\n0.png,a\n".encode("utf-16-le")[:-1],
            "its mark says utf-16.*, and it is none; save it as UTF-8$",
        ),
    ],
)
def test_a_table_in_another_encoding_is_refused_in_a_clean_line(
    table: Make, content: bytes, says: str
) -> None:
    path = table("")
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        _find(path)
