"""The C library: found, loaded, and asked what the processor can do.

It is built when the package is installed (CMakeLists.txt) and called through ctypes with
addresses. Where it is missing, everything works without it, more slowly, and says so once.
"""

import ctypes
import os
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch  # first: the library shares the OpenMP that torch has loaded

_VERSION = 5  # of the library's interface; RAVINE_VERSION in CMakeLists.txt
_NAME = "_ravine_kernels"
_LEVELS = ("base", "avx2", "avx512", "amx")
_OFF = "RAVINE_KERNELS"


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded library.

    Attributes:
        functions: its functions by name.
        level: the highest level of the processor that it has code for, an index of "base",
            "avx2", "avx512", "amx".
    """

    functions: ctypes.CDLL
    level: int

    @property
    def level_name(self) -> str:
        """The level in words."""
        return _LEVELS[self.level]

    @property
    def has_tiles(self) -> bool:
        """Whether the processor multiplies tiles of bfloat16 (AMX)."""
        return self.level_name == "amx"


@cache
def load_library() -> Library | None:
    """Returns the library, or None, with a warning once, where there is none.

    `RAVINE_KERNELS=off` in the environment leaves it out without a word.
    """
    if os.environ.get(_OFF, "on") == "off":
        return None
    path = _find()
    if path is None:
        _warn("it was not built when the package was installed (is there a C compiler?)")
        return None
    try:
        functions = ctypes.CDLL(str(path))
        version = int(functions.ravine_version())
    except (OSError, AttributeError) as error:
        _warn(f"{path} cannot be loaded: {error}")
        return None
    if version != _VERSION:
        _warn(f"{path} has interface {version}, {_VERSION} is needed: install the package again")
        return None
    return Library(functions, int(functions.ravine_level()))


def threads() -> int:
    """Returns how many threads a pass may use: as many as torch uses."""
    return torch.get_num_threads()


def _warn(why: str) -> None:
    warnings.warn(
        f"Ravine works without its C library, more slowly: {why}. {_OFF}=off silences this.",
        stacklevel=4,
    )


def _find() -> Path | None:
    beside = [*Path(__file__).parent.glob(f"{_NAME}*")]
    return next(iter(beside or _installed()), None)


def _installed() -> list[Path]:
    """Returns where an editable install has put the library: away from the Python files."""
    try:
        listed = files("ravine") or []
    except PackageNotFoundError:
        return []
    found = [Path(str(one.locate())) for one in listed if one.name.startswith(_NAME)]
    return [path for path in found if path.exists()]
