"""JSON and TOML of files that anybody may have written: what cannot be read is a ValueError."""

import json
import tomllib
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Returns the value in a text of JSON.

    Raises:
        ValueError: it is no JSON, or nested deeper than can be read.

    >>> parse_json("[1, 2]")
    [1, 2]
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Returns the table in a text of TOML.

    Raises:
        ValueError: it is no TOML, nested deeper than can be read, or holds an endless number.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
