"""Paths that the user names, checked before anything is done with them."""

import os
import stat
from pathlib import Path

from ravine.core.errors import SettingError
from ravine.core.validation import check_text

_OF_THE_SHELL = ("/dev/fd/", "/dev/stdin", "/proc/")  # what `<(command)` is passed as


def usable_path(name: str, path: str | Path) -> Path:
    """Returns a path with `~` expanded, whether anything is there or not.

    Args:
        name: of the setting or argument, for the message.
        path: as the user wrote it.

    Raises:
        SettingError: it is empty, no valid text, too long, of a user who is not there, or leads
            through a link to itself or a folder that may not be entered.

    >>> usable_path("out", "runs/first").name
    'first'
    """
    text = os.fspath(path)
    if not text.strip():
        raise SettingError(f"{name} is empty; was a variable of the shell not set?")
    check_text(name, text)
    try:
        found = Path(text).expanduser()
    except RuntimeError:
        user = text.partition("/")[0]
        raise SettingError(f"{name} {text!r}: there is no user {user[1:]!r} here") from None
    try:
        mode = os.stat(found).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return found
    except OSError as error:
        raise SettingError(f"{name} {text[:100]!r}: {error.strerror}") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or text.startswith(_OF_THE_SHELL)):
        raise SettingError(f"{name} {text[:100]!r} is no regular file and no folder")
    return found
