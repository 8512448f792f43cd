"""Errors for mistakes of the user.

RavineError                 one line that names what is wrong and how to mend it; exit code 2
├── SettingError            a setting outside its range, an unknown name, two settings that clash
├── DataError               files of a data set or a prediction that cannot be used
└── RunError                a run folder that exists, is missing, is torn, or does not fit

Every other exception is a fault of Ravine and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class RavineError(Exception):
    """A mistake of the user: one line with its remedy."""


class SettingError(RavineError, ValueError):
    """A setting has a value that cannot work."""


class DataError(RavineError):
    """Files on disk cannot be used as they are."""


class RunError(RavineError):
    """A run folder does not allow the operation."""


def unknown(what: str, name: str, known: Iterable[str]) -> SettingError:
    """Returns the error for an unknown name, with the nearest known ones.

    >>> print(unknown("optimizer", "adm", ["adam", "nadam", "rmsprop"]))
    unknown optimizer 'adm'; did you mean 'adam' or 'nadam'? Known: adam, nadam, rmsprop
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return SettingError(f"unknown {what} {name!r}{hint} Known: {', '.join(names)}")
