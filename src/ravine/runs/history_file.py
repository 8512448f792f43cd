"""history.jsonl, findings.jsonl and environment.json as they are read back: whole rows only."""

from pathlib import Path
from typing import Any

from ravine.core.errors import RunError
from ravine.runs.file_schemas import ENVIRONMENT, FINDING, HISTORY, fault_in, whole
from ravine.runs.rows import read_json, read_rows, rewrite_rows


def read_history(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of history.jsonl that are whole.

    Raises:
        RunError: the file is a link, or cannot be read.
    """
    return whole(read_rows(path), HISTORY)


def keep_history_until(path: Path, step: int) -> None:
    """Takes out the rows of later steps, in one instant.

    Raises:
        RunError: the file is a link, or the disk does not allow it.
    """
    if path.exists():
        rewrite_rows(path, [row for row in read_history(path) if row["step"] <= step])


def read_findings(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of findings.jsonl that are whole.

    Raises:
        RunError: the file is a link, or cannot be read.
    """
    return whole(read_rows(path), FINDING)


def read_environment(path: Path) -> dict[str, Any]:
    """Returns environment.json.

    Raises:
        RunError: it is missing, a link, or does not hold what it should.
    """
    found = read_json(path)
    if (fault := fault_in(found, ENVIRONMENT)) is not None:
        raise RunError(f"{path} does not hold what it should ({fault})")
    return found
