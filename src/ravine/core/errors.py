"""Errors for mistakes of the user.

RavineError                 one line that names what is wrong and how to mend it; exit code 2
├── SettingError            a setting outside its range, an unknown name, two settings that clash
├── DataError               files of a data set or a prediction that cannot be used
├── RunError                a run folder that exists, is missing, is torn, or does not fit
│   ├── CodeRefusedError    a file names code, and the user has not
│   └── PickleRefusedError  a file is a pickle, which can run code
└── TrainingDiverged        a training whose steps are not finite, or whose loss does not come back

Every other exception is a fault of Ravine and keeps its traceback.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path


class RavineError(Exception):
    """A mistake of the user: one line with its remedy."""


class SettingError(RavineError, ValueError):
    """A setting has a value that cannot work."""


class DataError(RavineError):
    """Files on disk cannot be used as they are."""


class RunError(RavineError):
    """A run folder does not allow the operation."""


class CodeRefusedError(RunError):
    """A file names code that the user has not allowed.

    Attributes:
        name: its `module:callable`.
        told: what was refused, without the remedy.
    """

    def __init__(self, name: str, source: Path | None) -> None:
        self.name = name
        named = f"{source}: its network is the code {name!r}" if source else f"the code {name!r}"
        self.told = f"{named}, which is not imported unless you name it"
        super().__init__(
            f"{self.told}; if you trust it: --allow-code {name}, in Python allow_code={name!r}"
        )


class PickleRefusedError(RunError):
    """A file is a pickle, which is never opened.

    Attributes:
        told: what was refused, in one line.
        lines: of Python, that convert the file.
    """

    def __init__(self, told: str, lines: tuple[str, ...]) -> None:
        self.told, self.lines = told, lines
        super().__init__("\n".join((told, *lines)))


class TrainingDiverged(RavineError):
    """Training cannot go on: its steps are not finite, or its loss grew and stays high."""


_MOST = 100  # characters of a name in a message


def unknown(what: str, name: str, known: Iterable[str]) -> SettingError:
    """Returns the error for an unknown name, with the nearest known ones.

    >>> print(unknown("optimizer", "adm", ["adam", "nadam", "rmsprop"]))
    unknown optimizer 'adm'; did you mean 'adam' or 'nadam'? Known: adam, nadam, rmsprop
    """
    names = list(known)
    near = difflib.get_close_matches(name[:_MOST], names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    shown = name if len(name) <= _MOST else f"{name[:_MOST]}…"
    return SettingError(f"unknown {what} {shown!r}{hint} Known: {', '.join(names)}")
