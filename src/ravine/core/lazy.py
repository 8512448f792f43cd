"""Modules that are loaded when one of their names is first used.

A command that ends in a line (help, a table, a mistake) loads neither torch nor plots, and what one
function needs is loaded by that function. A lazy import stands at the head of its file like any
other, and is typed like any other:

    if TYPE_CHECKING:
        from matplotlib import tri
    else:
        tri = lazy_module("matplotlib.tri")

`lazy_names` is the same for the names that a package re-exports (PEP 562). A command loads what it
runs for good (`loaded_for_good`).
"""

import atexit
import gc
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, final


@final
class LazyModule:
    """Stands for a module, which the first use of one of its names loads."""

    def __init__(self, name: str, load: Callable[[str], Any] = import_module) -> None:
        self._name = name
        self._load = load

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by inspection, which is no use
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return getattr(self._load(self._name), name)

    def __repr__(self) -> str:
        return f"<lazy module {self._name}>"


def loaded_for_good(name: str) -> Any:
    """Returns the module `name`; the collector passes over it, and over all that is there by then.

    For the start of a process that is Ravine's own: torch and plots are half a million objects,
    which collections go through again and again, the last at the exit, and none of them ends.

    >>> loaded_for_good("fractions").Fraction(1, 2)
    Fraction(1, 2)
    """
    if name in sys.modules:
        return import_module(name)
    was_on = gc.isenabled()
    gc.disable()
    try:
        found = import_module(name)
        gc.freeze()
    finally:
        if was_on:
            gc.enable()
    atexit.register(_unfreeze_for_triton)
    return found


def _unfreeze_for_triton() -> None:
    # Its bindings print the names of all that the last collection has not ended.
    if "triton" in sys.modules:
        gc.unfreeze()


def lazy_module(name: str, *, for_good: bool = False) -> Any:
    """Returns what stands for the module `name`; a command loads its own `for_good`.

    >>> fractions = lazy_module("fractions")
    >>> fractions
    <lazy module fractions>
    >>> fractions.Fraction(1, 2)
    Fraction(1, 2)
    """
    return LazyModule(name, loaded_for_good if for_good else import_module)


def lazy_names(
    package: str, origins: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` of a package that re-exports names.

    Args:
        package: its dotted name.
        origins: the module of each name; an empty one where the name is itself a module of the
            package.

    >>> get, names = lazy_names("package", {"Fraction": "fractions"})
    >>> names()
    ['Fraction']
    >>> get("Fraction")
    <class 'fractions.Fraction'>
    """

    def get(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not origins[name]:
            return import_module(f"{package}.{name}")
        return getattr(import_module(origins[name]), name)

    return get, lambda: sorted(origins)


def named_object(path: str) -> Any:
    """Returns the object that `module:name` names; for rows of a table, whose text is Ravine's own.

    >>> named_object("fractions:Fraction")
    <class 'fractions.Fraction'>
    """
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
