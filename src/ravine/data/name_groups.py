"""Groups from file names: `00012_00003.png` is the third picture of track 00012.

A pattern of the user's is matched in a process of its own (`name_matching`), which is ended where
it does not come to an end: a regular expression may take longer than the age of the universe.
"""

import json
import re
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import PurePosixPath

from ravine.core.errors import DataError, SettingError
from ravine.data.processes import start_worker

_LONGEST_PATTERN = 200  # letters
_SECONDS = 5.0
_SECONDS_PER_NAME = 100e-6


def check_name_pattern(pattern: str, setting: str) -> str:
    """Returns a pattern that `matched_names` takes.

    Raises:
        SettingError: it is no regular expression with one group, and no single character.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise SettingError(f"{setting}: {len(pattern)} letters are more than {_LONGEST_PATTERN}")
    if len(pattern) == 1:
        return pattern
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sets that may mean more in future
            found = re.compile(pattern)
    # Python's compiler of patterns raises OverflowError and RecursionError, too.
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingError(
            f"{setting}: {pattern!r} is no regular expression: {error}; "
            f"for example '^(\\d+)_', or _ for all that stands before the first _"
        ) from None
    if found.groups != 1:
        raise SettingError(
            f"{setting}: {pattern!r} has {found.groups} groups in parentheses and takes one, "
            "such as '^(\\d+)_'; (?:…) is no group"
        )
    return pattern


def matched_names(names: Sequence[str], pattern: str, setting: str) -> list[str]:
    """Returns what the pattern finds in the last part of each path, its ending included.

    Args:
        names: paths of images.
        pattern: a regular expression with one group, found anywhere in the name; or one
            character, for all that stands before its first occurrence.
        setting: that the pattern was given by, for errors.

    Raises:
        DataError: a name does not fit, or matching takes too long.

    >>> matched_names(["a/012_3.png", "b/013_1.png"], "_", "group_from_name")
    ['012', '013']
    """
    files = [PurePosixPath(name).name for name in names]
    expression = f"^([^{re.escape(pattern)}]+){re.escape(pattern)}" if len(pattern) == 1 else None
    found = (
        _search(files, expression)
        if expression is not None
        else _search_apart(files, pattern, setting)
    )
    missing = [file for file, value in zip(files, found, strict=True) if not value]
    if missing:
        option = f"--{setting.replace('_', '-')}"
        raise DataError(
            f"{option} {pattern[:40]!r}: nothing is found in {len(missing):,} of {len(files):,} "
            f"file names, such as {missing[0][:60]!r}; mend the pattern or take these images away"
        )
    return [value for value in found if value]


def _search(files: Sequence[str], expression: str) -> list[str | None]:
    compiled = re.compile(expression)
    return [found[1] if (found := compiled.search(file)) else None for file in files]


def _search_apart(files: Sequence[str], pattern: str, setting: str) -> list[str | None]:
    seconds = _SECONDS + _SECONDS_PER_NAME * len(files)
    worker = start_worker("ravine.data.name_matching", [], stdin=subprocess.PIPE, text=True)
    job = json.dumps({"names": list(files), "pattern": pattern, "seconds": int(seconds) + 1})
    try:
        answer, _ = worker.communicate(job, timeout=seconds)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.communicate()
        raise DataError(
            f"--{setting.replace('_', '-')} {pattern[:60]!r}: not matched in {seconds:.0f} s; "
            "take a pattern without repeats inside repeats, such as '^(\\d+)_'"
        ) from None
    except BaseException:
        worker.kill()
        worker.communicate()
        raise
    if worker.returncode:
        raise DataError(f"--{setting.replace('_', '-')} {pattern[:60]!r}: matching it failed")
    found: list[str | None] = json.loads(answer)
    return found
