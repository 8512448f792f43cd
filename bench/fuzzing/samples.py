"""Sample submissions: odd forms, and labels that are none of the classes."""

import csv
import random
import shutil
from pathlib import Path

from fuzzing.case import Case
from fuzzing.fixtures import CLASSES, Fixtures


def sample_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a prediction in the form of a sample; what it writes has to fit the sample."""
    shutil.copytree(fixtures.run, folder / "run")
    images = folder / "images"
    images.mkdir()
    names = []
    for number, path in enumerate(sorted(fixtures.tree.rglob("*.png"))[:6]):
        names.append(f"{number}.png")
        (images / names[-1]).symlink_to(path)
    header, values = chance.choice(_FORMS)(chance)
    rows = [[name if chance.random() < 0.9 else name[:-4], *values(chance)] for name in names]
    if chance.random() < 0.2:
        chance.shuffle(rows)
    if chance.random() < 0.1:
        rows = rows[:3]
    if chance.random() < 0.1:
        rows.append(["none.png", *values(chance)])
    with (folder / "sample.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=chance.choice(",,,;\t")).writerows([header, *rows])

    def wrong(at: Path, _: str) -> str | None:
        return _misfit(at / "sample.csv", at / "out.csv", values)

    return Case(
        words=["predict", "run", "images", "--like", "sample.csv", "--out", "out.csv", "--quiet"],
        wrong=wrong,
    )


def _misfit(sample: Path, out: Path, _: object) -> str | None:
    """Returns what of a submission does not fit the labels of its sample."""
    with sample.open(newline="") as file:
        text = file.readline()
    separator = max(",;\t", key=text.count)
    rows = [list(csv.reader(p.open(newline=""), delimiter=separator)) for p in (sample, out)]
    if rows[0][0] != rows[1][0] or len(rows[0]) != len(rows[1]):
        return "the submission has another header or another number of rows"
    if len(rows[0][0]) != 2:
        return None
    wanted, given = ({row[1].strip() for row in found[1:]} for found in rows)
    plain = {name.lower() for name in CLASSES}
    named = {label.lower() for label in wanted} & plain
    numeric = wanted <= {"0", "1", "2"}
    placeholders = wanted <= {"", "unknown"}
    if named or numeric or placeholders or all(_is_number(label) for label in wanted):
        return None
    return f"the sample's labels {sorted(wanted)} are no classes, and {sorted(given)} was written"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _labels(*labels: str):  # type: ignore[no-untyped-def]
    def form(chance: random.Random):  # type: ignore[no-untyped-def]
        header = ["id", chance.choice(["label", "class", "target", "Category"])]
        return header, lambda chance: [chance.choice(labels)]

    return form


def _columns(*columns: str):  # type: ignore[no-untyped-def]
    def form(_: random.Random):  # type: ignore[no-untyped-def]
        return ["id", *columns], lambda chance: [chance.choice(["0", "0.3", ""]) for _ in columns]

    return form


_FORMS = (
    _labels("across"),
    _labels("Across", "along"),
    _labels("zebra"),
    _labels("zebra", "horse"),
    _labels("0"),
    _labels("1"),
    _labels("1", "2", "3"),
    _labels("0", "1", "2"),
    _labels("0.5"),
    _labels("-1"),
    _labels("nan"),
    _labels(""),
    _labels("unknown"),
    _labels("across", "zebra"),
    _columns("across", "along", "dots"),
    _columns("dots", "across", "along"),
    _columns("across", "along"),
    _columns("a", "b", "c"),
    _columns("Across", "ALONG", " dots"),
    _columns("0", "1", "2"),
    _columns("across", "across", "dots"),
)
