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
_LEVELS = ("base", "avx2", "avx512", "amx", "amx-emulated")  # as in c/library.c
_SWITCH = "RAVINE_KERNELS"


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded library.

    Attributes:
        functions: its functions by name.
        level: the code that is run, an index of "base", "avx2", "avx512", "amx",
            "amx-emulated"; the highest that the processor has, but for tests.
    """

    functions: ctypes.CDLL
    level: int

    @property
    def level_name(self) -> str:
        """The level's name."""
        return _LEVELS[self.level]

    @property
    def has_tiles(self) -> bool:
        """Whether tiles of bfloat16 are multiplied, by the processor (AMX) or emulated."""
        return self.level_name in ("amx", "amx-emulated")

    def run(self, function: str, job: ctypes.Structure) -> int:
        """Runs a function on a job with as many threads as torch uses.

        Returns:
            Its status, 0 for success; meaningless for a function of C that returns nothing.
        """
        status: int = getattr(self.functions, function)(
            ctypes.c_int32(self.level), ctypes.byref(job), ctypes.c_int32(threads())
        )
        return status


@cache
def load_library() -> Library | None:
    """Returns the library, or None, with a warning once, where there is none.

    The environment variable `RAVINE_KERNELS` is read once: `off` returns None without a warning;
    `amx-emulated`, which is for tests, runs the code for AMX in AVX-512, slowly, and returns None
    with a warning where the processor lacks that.
    """
    switch = os.environ.get(_SWITCH, "on")
    if switch == "off":
        return None
    path = _find()
    if path is None:
        _warn("it was not built when the package was installed (is there a C compiler?)")
        return None
    try:
        functions = ctypes.CDLL(str(path))
        version, level = int(functions.ravine_version()), int(functions.ravine_level())
    except (OSError, AttributeError) as error:
        _warn(f"{path} cannot be loaded: {error}")
        return None
    if version != _VERSION:
        _warn(f"{path} has interface {version}, {_VERSION} is needed: install the package again")
        return None
    return Library(functions, level) if switch != "amx-emulated" else _emulating(functions, level)


def _emulating(functions: ctypes.CDLL, level: int) -> Library | None:
    if level < _LEVELS.index("avx512"):
        _warn(f"{_SWITCH}=amx-emulated needs a processor with AVX-512; this is {_LEVELS[level]}")
        return None
    return Library(functions, _LEVELS.index("amx-emulated"))


def threads() -> int:
    """Returns how many threads a pass may use: as many as torch uses."""
    return torch.get_num_threads()


def _warn(why: str) -> None:
    warnings.warn(
        f"Ravine works without its C library, more slowly: {why}. {_SWITCH}=off silences this.",
        stacklevel=4,
    )


def _find() -> Path | None:
    packaged = [*Path(__file__).parent.glob(f"{_NAME}*")]
    return next(iter(packaged or _installed()), None)


def _installed() -> list[Path]:
    """Returns where an editable install has put the library: away from the Python files."""
    try:
        listed = files("ravine") or []
    except PackageNotFoundError:
        return []
    found = [Path(str(one.locate())) for one in listed if one.name.startswith(_NAME)]
    return [path for path in found if path.exists()]
