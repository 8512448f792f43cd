"""Where the images lie: the path that the user named, and whether it is there; loads no numpy."""

from pathlib import Path

from ravine.core.errors import DataError
from ravine.data.settings import DataSettings
from ravine.data.understanding import shortened

SAMPLE = "@fashion"


def expand_path(data: str) -> Path:
    """Returns the path that the user named, with `~` expanded.

    Raises:
        DataError: no file can have this path.
    """
    try:
        path = Path(data).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"no such path: {shortened(data, 80)!r} ({reason})") from None
    return path


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
