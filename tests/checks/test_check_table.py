"""The table of checks: every code has its row, its function and its line in the docs."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from ravine.checks import short_trainings
from ravine.checks.check_kind import Check
from ravine.checks.check_table import CHECKS, EXPLAINS, functions_of
from ravine.findings.detectors import DETECTORS, RUN_EXPLAINS

SOURCE = Path(inspect.getfile(short_trainings)).parents[1]
TABLES = ("check_table.py", "label_table.py", "loss_table.py", "detectors.py")
DOCS = Path(__file__).parents[2] / "docs" / "diagnose.md"


def codes_of(file: Path) -> Iterator[str]:
    """Yields the literal codes of the findings that a file makes."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "code":
            strings = [one for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
            yield from (one.value for one in strings if isinstance(one.value, str))


def yielded(room: str) -> dict[str, set[str]]:
    """Returns for each code that a room yields the files that do."""
    found: dict[str, set[str]] = {}
    for file in (SOURCE / room).glob("*.py"):
        for code in codes_of(file) if file.name not in TABLES else ():
            found.setdefault(code, set()).add(file.stem)
    return found


def test_every_code_that_is_yielded_has_its_row_and_every_row_is_yielded() -> None:
    checks = {row.code for row in CHECKS if isinstance(row, Check)}

    assert set(yielded("checks")) == checks
    assert set(yielded("findings")) == set(DETECTORS)
    assert checks | set(DETECTORS) == set(EXPLAINS)


@pytest.mark.parametrize(
    "row", [row for row in CHECKS if isinstance(row, Check)], ids=lambda row: row.code
)
def test_the_function_of_a_row_lies_in_the_file_that_yields_its_code(row: Check) -> None:
    file = inspect.getmodule(row.function).__name__.rpartition(".")[2]  # type: ignore[union-attr]
    # The trainings themselves lie in files of their own.
    files = {"learning", "learning_rate"} if file == "short_trainings" else {file}

    assert files & yielded("checks")[row.code]
    assert row.function in functions_of(row.stage)


def test_no_code_has_two_rows() -> None:
    codes = [row.code for row in CHECKS]

    assert len(codes) == len(set(codes))


def test_detectors_have_the_same_order_and_symptoms_in_both_tables() -> None:
    assert {code: EXPLAINS[code] for code in RUN_EXPLAINS} == RUN_EXPLAINS
    assert [code for code in EXPLAINS if code in RUN_EXPLAINS] == list(RUN_EXPLAINS)


@pytest.mark.parametrize("code", sorted(EXPLAINS))
def test_every_code_stands_in_the_docs(code: str) -> None:
    assert f"`{code}`" in DOCS.read_text()
