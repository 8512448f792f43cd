"""The C library: found, loaded, and asked what the processor can do.

It is built when the package is installed (CMakeLists.txt) and called through ctypes with
addresses. Where it is missing, everything works without it, more slowly, and says so once.
"""

import ctypes
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch  # first: the library shares the OpenMP that torch has loaded

from ravine.core.errors import SettingError

_VERSION = 15  # of the library's interface; RAVINE_VERSION in CMakeLists.txt
_NAME = "_ravine_kernels"
#: As in c/library.c; each level but the last has what those before it have.
LEVELS = ("base", "avx2", "avx512", "avx512-bf16", "amx", "amx-emulated")
_SWITCH = "RAVINE_KERNELS"


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded library.

    Attributes:
        functions: its functions by name.
        level: the code that is run, an index of `LEVELS`; the highest that the processor has,
            unless the environment holds it down.
        checksum: of its file: of another build other kernels may be the fastest.
    """

    functions: ctypes.CDLL
    level: int
    checksum: int = 0

    @property
    def level_name(self) -> str:
        """The level's name."""
        return LEVELS[self.level]

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
    a level holds the code down to it. `amx-emulated`, which is for tests, runs the code for AMX in
    AVX-512, slowly.

    Raises:
        SettingError: the variable holds another word, or a level that the processor lacks.
    """
    switch = os.environ.get(_SWITCH, "on")
    if switch not in ("on", "off", *LEVELS):
        raise SettingError(f"{_SWITCH}={switch} is not known; use on, off or {', '.join(LEVELS)}")
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
    chosen = level if switch == "on" else _level_named(switch, level)
    return Library(functions, chosen, zlib.crc32(path.read_bytes()) if path.exists() else 0)


@contextmanager
def without_library() -> Iterator[None]:
    """Hides the library in this process, so that a network runs by torch alone."""
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "off"
    load_library.cache_clear()
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = before
        load_library.cache_clear()
        load_library()


def _level_named(name: str, highest: int) -> int:
    needed = "avx512" if name == "amx-emulated" else name
    if LEVELS.index(needed) > highest:
        raise SettingError(
            f"{_SWITCH}={name} needs a processor with {needed}; this one has {LEVELS[highest]}"
        )
    return LEVELS.index(name)


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
