"""The mistakes that a user can make.

RavineError                 one line that names what is wrong and how to mend it; exit code 2
├── SettingError            a setting outside its range, an unknown name, two settings that clash
├── DataError               what lies on disk cannot be used as it is
├── RunError                a run folder that exists, is missing, is torn, or does not fit
└── TrainingDiverged        steps that stay non-finite, or a loss that does not come back

Anything else that is raised is a fault of Ravine and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class RavineError(Exception):
    """A mistake of the user's, told in one line with its remedy."""


class SettingError(RavineError, ValueError):
    """A setting has a value that cannot work."""


class DataError(RavineError):
    """What lies on disk cannot be used as it is."""


class RunError(RavineError):
    """A run folder does not allow what was asked of it."""


class TrainingDiverged(RavineError):
    """Training cannot go on: its steps are not finite, or its loss grew and stays high."""


def unknown(what: str, name: str, known: Iterable[str]) -> SettingError:
    """Returns the error for a name that is not known, with the nearest names.

    >>> print(unknown("optimizer", "adm", ["adam", "nadam", "rmsprop"]))
    unknown optimizer 'adm'; did you mean 'adam' or 'nadam'? Known: adam, nadam, rmsprop
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return SettingError(f"unknown {what} {name!r}{hint} Known: {', '.join(names)}")
