"""Rows of a file that grows: whole ones once each, whatever happens to the file."""

import json
from pathlib import Path

import pytest

from ravine.runs.row_reader import RowReader, last_rows
from ravine.runs.rows import append_row, rewrite_rows


def steps(rows) -> list[int]:  # type: ignore[no-untyped-def]
    return [row["step"] for row in rows]


def test_each_call_gives_what_was_appended_since_the_last(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    reader = RowReader(path)
    assert steps(reader.new_rows()) == []
    append_row(path, {"step": 1})
    append_row(path, {"step": 2})
    assert steps(reader.new_rows()) == [1, 2]
    append_row(path, {"step": 3})
    assert steps(reader.new_rows()) == [3]
    assert not reader.started_anew


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st')
    reader = RowReader(path)
    assert steps(reader.new_rows()) == [1]
    with path.open("ab") as file:
        file.write(b'ep": 2}\n')
    assert steps(reader.new_rows()) == [2]


def test_a_torn_line_between_others_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"step": 1}\n{"ste\n[2]\n{"step": 3}\n')

    assert steps(RowReader(path).new_rows()) == [1, 3]


def test_a_file_that_was_written_anew_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for step in range(5):
        append_row(path, {"step": step})
    reader = RowReader(path)
    assert steps(reader.new_rows()) == [0, 1, 2, 3, 4]
    rewrite_rows(path, [{"step": 0}, {"step": 9}])
    assert steps(reader.new_rows()) == [0, 9]
    assert reader.started_anew


def test_a_link_has_no_rows(tmp_path: Path) -> None:
    append_row(tmp_path / "own.jsonl", {"step": 1})
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "own.jsonl")

    assert list(RowReader(tmp_path / "link.jsonl").new_rows()) == []
    assert last_rows(tmp_path / "link.jsonl") == []


@pytest.mark.parametrize("size", [1, 100, 1000, 10**6])
def test_the_last_rows_are_the_whole_ones_at_the_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "history.jsonl"
    rows = [{"step": step, "loss": 1 / (1 + step)} for step in range(100)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = last_rows(path, size)

    assert found == rows[100 - len(found) :]
    assert sum(len(json.dumps(row)) + 1 for row in found) <= size
