"""Tables of images and labels, and tables of pixels: odd cells, headers, separators, bytes."""

import csv
import io
import random
from pathlib import Path

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures
from fuzzing.odd import TEXTS, data_words
from fuzzing.oracles import of_data

_ENDINGS = (".csv", ".tsv", ".CSV", ".txt", ".csv.gz", ".csv.zip", ".data")
_HEADERS = (
    ["image", "label"], ["id", "target"], ["file_name", "class"], ["label", "image"], ["image"],
    ["image", "label", "label"], ["image", "label", "split"], ["image", "label", "patient"],
    ["image", "across", "along", "dots"], ["", "label"], ["image", " label "], ["\ufeffimage", "y"],
)  # fmt: skip


def table_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a short training on a table with one to four faults."""
    if chance.random() < 0.25:
        rows = _pixels(chance)
    else:
        (folder / "images").symlink_to(fixtures.tree)
        rows = _names(chance, fixtures)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        chance.choice(_FAULTS)(chance, rows)
    text = io.StringIO()
    separator = chance.choice((*",,,,,,;;\t\t", "|", " "))
    quoting = chance.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    csv.writer(text, delimiter=separator, quoting=quoting, escapechar="\\").writerows(rows)
    content = text.getvalue().encode("utf-8", "surrogateescape")
    table = folder / f"train{chance.choice(_ENDINGS) if chance.random() < 0.2 else '.csv'}"
    table.write_bytes(_bytes(chance, content) if chance.random() < 0.2 else content)
    source = ["images", "--labels", table.name] if (folder / "images").exists() else [table.name]
    options = [] if chance.random() < 0.85 else [chance.choice(_OPTIONS), chance.choice(_COLUMNS)]
    words = data_words(chance, *source, *options)
    return Case(words=words, wrong=lambda at, text: of_data(words, at, text))


_OPTIONS = ("--label-column", "--image-column", "--group-column")
_COLUMNS = ("label", "patient", "none", "", "image", "0")


def _names(chance: random.Random, fixtures: Fixtures) -> list[list[str]]:
    header = list(_HEADERS[0] if chance.random() < 0.5 else chance.choice(_HEADERS))
    form = chance.choice((0, 0, 1, 2, None))  # of the names; None: of each row another
    rows = [header]
    for path in sorted(fixtures.tree.rglob("*.png")):
        names = (str(path.relative_to(fixtures.tree)), path.stem, path.name)
        name = chance.choice(names) if form is None else names[form]
        cells = {"image": name, "id": name, "file_name": name, "split": "train", "patient": "p"}
        kind = path.parent.name
        shares = {column: str(int(column == kind)) for column in ("across", "along", "dots")}
        rows.append([cells.get(column, shares.get(column, kind)) for column in header])
    return rows


def _pixels(chance: random.Random) -> list[list[str]]:
    size = chance.choice((4, 9, 16, 64, 65))
    rows = [["label", *(f"pixel{number}" for number in range(size))]]
    for number in range(30):
        rows.append([str(number % 3), *(str(chance.randint(0, 255)) for _ in range(size))])
    return rows


def _cell(chance: random.Random, rows: list[list[str]]) -> None:
    row = chance.choice(rows)
    if row:
        row[chance.randrange(len(row))] = chance.choice((*TEXTS, "", " ", '"', "a,b", "\n", "\0"))


def _column(chance: random.Random, rows: list[list[str]]) -> None:
    at, odd = chance.randrange(max(1, len(rows[0]))), chance.choice(("", "0", "x", "0.5", "nan"))
    for row in rows[1:]:
        if at < len(row):
            row[at] = odd


def _short_or_long(chance: random.Random, rows: list[list[str]]) -> None:
    row = chance.choice(rows)
    if row and chance.random() < 0.5:
        row.pop()
    else:
        row.append("young")


def _few(chance: random.Random, rows: list[list[str]]) -> None:
    del rows[chance.choice((0, 1, 2, 5)) :]
    if not rows:
        rows.append([])


def _twice(chance: random.Random, rows: list[list[str]]) -> None:
    rows.insert(chance.randrange(len(rows)), list(chance.choice(rows)))


def _no_header(_: random.Random, rows: list[list[str]]) -> None:
    if len(rows) > 1:
        del rows[0]


def _split(chance: random.Random, rows: list[list[str]]) -> None:
    words = chance.choice((("train", "test"), ("test",), ("tr", "te"), ("0", "1"), ("val", "")))
    rows[0].append("split")
    for row in rows[1:]:
        row.append(chance.choice(words))


def _bytes(chance: random.Random, content: bytes) -> bytes:
    at = chance.randrange(len(content) + 1)
    return chance.choice(
        (content[:at], content[:at] + b"\xff\xfe\0" + content[at:], b"", b"\0" * 100,
         content.decode("utf-8", "replace").encode("utf-16"), content.replace(b"\r\n", b"\r"))
    )  # fmt: skip


_FAULTS = (_cell, _cell, _cell, _column, _short_or_long, _few, _twice, _no_header, _split)
