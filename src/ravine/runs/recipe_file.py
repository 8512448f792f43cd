"""recipe.toml: flat settings, then a table [plan] once the number of steps is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from ravine.core.atomic import write_whole
from ravine.core.errors import RunError
from ravine.core.json_text import parse_toml
from ravine.core.regular_file import read_regular

_HEAD = "# All that decides this run. Repeat it: ravine train --recipe {name}\n\n"


def write_recipe(path: Path, settings: Mapping[str, Any], plan: Mapping[str, Any] | None) -> None:
    """Writes settings and plan, whole or not at all. Settings that are None are omitted."""
    content: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    if plan is not None:
        content["plan"] = dict(plan)
    text = _HEAD.format(name=path.name) + tomli_w.dumps(content)
    write_whole(path, text.encode())


def read_recipe(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Returns the settings and the plan (None before the plan was made).

    Raises:
        RunError: there is no such file, or it is not TOML.
    """
    try:
        content = parse_toml(read_regular(path).decode())
    except FileNotFoundError:
        raise RunError(f"no recipe {path}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is not a recipe in TOML: {error}") from None
    plan = content.pop("plan", None)
    return content, plan if isinstance(plan, dict) else None
