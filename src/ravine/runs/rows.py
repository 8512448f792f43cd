"""JSON lines: one row a line, appended; reading skips a line torn by a kill."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ravine.core.atomic import disk_error, write_whole
from ravine.core.errors import RunError
from ravine.core.json_text import parse_json
from ravine.core.regular_file import read_regular
from ravine.runs.links import refuse_link

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK  # a fifo is not waited for


def plain(value: Any) -> Any:
    """Returns `value` with None for NaN and infinity, for strict JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Appends one row.

    Raises:
        RunError: the disk is full or read-only, or the file is a link.
    """
    refuse_link(path)
    try:
        with os.fdopen(os.open(path, _APPEND, 0o644), "a", encoding="utf-8") as file:
            file.write(json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise disk_error(path, error) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a file, without torn lines; none if there is no file.

    Raises:
        RunError: the file is a link, or cannot be read.
    """
    refuse_link(path)
    rows: list[dict[str, Any]] = []
    try:
        text = read_regular(path).decode(errors="replace")
    except FileNotFoundError:
        return rows
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    for line in text.split("\n"):
        try:
            row = parse_json(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def rewrite_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replaces the rows of a file atomically.

    Raises:
        RunError: the disk is full or read-only.
    """
    lines = [json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    write_whole(path, "".join(lines).encode())


def write_json(path: Path, value: Any) -> None:
    """Writes one JSON document atomically.

    Raises:
        RunError: the disk is full or read-only.
    """
    text = json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False)
    write_whole(path, text.encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Returns a JSON object.

    Raises:
        RunError: the file is missing, a link, or no JSON object.
    """
    refuse_link(path)
    try:
        value = parse_json(read_regular(path).decode())
    except FileNotFoundError:
        raise RunError(f"no file {path}: the run has not come that far") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} holds no JSON object")
    return value
