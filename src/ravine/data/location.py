"""Where the images lie: the path that the user named, and whether it is there; loads no numpy."""

from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.paths import usable_path
from ravine.data.settings import DataSettings

SAMPLE = "@fashion"


def expand_path(data: str) -> Path:
    """Returns the path that the user named, with `~` expanded.

    Raises:
        SettingError: no path can be as it is written.
    """
    return usable_path("path", data)


def refuse_missing(settings: DataSettings) -> None:
    """Raises `DataError` where the data is not named, or its path does not exist."""
    if not settings.data:
        raise DataError("no data is named; try @fashion, or a folder with one folder per class")
    if settings.data == SAMPLE:
        return
    if settings.data.startswith("@"):
        raise DataError(f"no sample {settings.data!r} ships with Ravine; there is {SAMPLE}")
    root = expand_path(settings.data)
    if not root.exists():
        raise DataError(f"no such path: {root}")
