"""Other names of settings and arguments, which are read under the one that is kept.

A recipe file, `--set`, a flag and a keyword argument of a Python call go through one table. Each
old name that is read prints one line to stderr; a name that other libraries have for a setting is
read without a word.
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

#: What other libraries call a setting, to its name here.
ALIASES: Mapping[str, str] = {
    "batch_size": "batch",
    "img_size": "image_size",
    "learning_rate": "lr",
    "num_epochs": "epochs",
    "num_workers": "workers",
}


def kept_name(name: str) -> str:
    """Returns the name under which a setting is kept.

    >>> kept_name("batch_size"), kept_name("batch")
    ('batch', 'batch')
    """
    return RENAMED.get(name) or ALIASES.get(name, name)


def with_new_names(values: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Returns `values` under the names that are kept, and prints a line for each old one.

    Args:
        values: by name, old or new.
        known: the names that the reader of the values knows; a name that it knows stays.

    Raises:
        SettingError: a setting is given under two names.

    >>> with_new_names({"lr": 1.0}, {"lr", "bias_lr_multiplier"})
    {'lr': 1.0}
    """
    read: dict[str, Any] = {}
    for name, value in values.items():
        new = kept_name(name)
        if new == name or name in known or new not in known:
            read[name] = value
            continue
        if new in values or new in read:
            kind = "the old name" if name in RENAMED else "another name"
            raise SettingError(f"{name} is {kind} of {new}, which is given too; drop {name}")
        if name in RENAMED and not is_secondary_process():
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
