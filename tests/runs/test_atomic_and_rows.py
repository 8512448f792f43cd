import errno
from pathlib import Path

import pytest

from ravine.core.atomic import disk_error, write_folder_whole, write_whole
from ravine.core.errors import RunError
from ravine.runs.rows import append_row, read_rows, rewrite_rows


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_whose_filling_fails_is_not_there(tmp_path: Path) -> None:
    def fill(part: Path) -> None:
        (part / "half").write_text("x")
        raise ValueError("killed")

    with pytest.raises(ValueError, match="killed"):
        write_folder_whole(tmp_path / "whole", fill)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_with_a_remedy() -> None:
    with pytest.raises(RunError, match=r"cannot write /dev/full.*"):
        write_whole(Path("/dev/full/x"), b"1")


@pytest.mark.parametrize("why", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_where_writing_is_not_allowed_commands_without_out_have_a_remedy_too(why: int) -> None:
    said = str(disk_error(Path("runs/a/report.html"), OSError(why, "no")))

    assert said.startswith("cannot write runs/a/report.html: ")
    assert "with --out, or take a copy" in said


def test_a_full_disk_on_append_is_reported() -> None:
    with pytest.raises(RunError, match="the disk is full; free some space"):
        append_row(Path("/dev/full"), {"a": "x" * 100_000})


def test_rows_survive_a_torn_line_and_numbers_that_are_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, {"loss": float("nan"), "name": "é\u2028"})
    append_row(path, {"loss": 1.5})
    with path.open("a") as file:
        file.write('{"loss": 2.')
    assert read_rows(path) == [{"loss": None, "name": "é\u2028"}, {"loss": 1.5}]
    rewrite_rows(path, read_rows(path)[1:])
    assert read_rows(path) == [{"loss": 1.5}]
