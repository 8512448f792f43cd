"""Old names of settings and arguments, which are still read under their new ones.

A recipe file, `--set`, a flag and a keyword argument of a Python call go through one table. Each
old name that is read prints one line to stderr.
"""

import inspect
import sys
from collections.abc import Callable, Container, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from ravine.core.errors import SettingError
from ravine.core.launch import is_secondary_process

P = ParamSpec("P")
T = TypeVar("T")

#: Old name to new name. An old name is never given to another setting.
RENAMED: Mapping[str, str] = {
    "bias_rate": "bias_lr_multiplier",
    "rates": "lr_multipliers",
}


def with_new_names(values: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Returns `values` with old names replaced, and prints a line for each of them.

    Args:
        values: by name, old or new.
        known: the names that the reader of the values knows; a name that it knows stays.

    Raises:
        SettingError: a setting is given under its old name and under its new one.

    >>> with_new_names({"lr": 1.0}, {"lr", "bias_lr_multiplier"})
    {'lr': 1.0}
    """
    read: dict[str, Any] = {}
    for name, value in values.items():
        new = RENAMED.get(name, name)
        if new == name or name in known or new not in known:
            read[name] = value
            continue
        if new in values:
            raise SettingError(f"{name} is the old name of {new}, which is given too; drop {name}")
        if not is_secondary_process():
            print(f"{name} is now called {new}; it is read under the new name", file=sys.stderr)
        read[new] = value
    return read


def reads_old_names(function: Callable[P, T]) -> Callable[P, T]:
    """Returns `function` such that it takes keyword arguments under their old names too."""
    known = inspect.signature(function).parameters

    @wraps(function)
    def reads(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **with_new_names(kwargs, known))

    return reads
