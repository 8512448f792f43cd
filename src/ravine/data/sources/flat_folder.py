"""The names in a folder without folders, for detectors that must be cheap and raise nothing."""

import os
from pathlib import Path

_MOST_ENTRIES = 200


def flat_names(folder: Path) -> list[str]:
    """Returns the names of the files in a folder, hidden ones left out, in order.

    Empty where it is no folder, cannot be read, holds folders, or more than two hundred entries:
    it is then no set of a few large files.
    """
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number == _MOST_ENTRIES:
                    return []
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    return []
                names.append(entry.name)
    except OSError:
        return []
    return sorted(names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
