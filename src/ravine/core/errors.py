"""The mistakes that a user can make.

RavineError                 one line that names what is wrong and how to mend it; exit code 2
├── SettingError            a setting outside its range, an unknown name, two settings that clash
├── DataError               what lies on disk cannot be used as it is
├── RunError                a run folder that exists, is missing, is torn, or does not fit
│   └── CodeRefusedError    a file names code, and the user has not
└── TrainingDiverged        a training whose steps are not finite, or whose loss does not come back

Anything else that is raised is a fault of Ravine and keeps its traceback.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path


class RavineError(Exception):
    """A mistake of the user's, told in one line with its remedy."""


class SettingError(RavineError, ValueError):
    """A setting has a value that cannot work."""


class DataError(RavineError):
    """What lies on disk cannot be used as it is."""


class RunError(RavineError):
    """A run folder does not allow what was asked of it."""


class TrainingDiverged(RavineError):
    """A training diverged and was stopped; a checkpoint is saved."""


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


def unknown(what: str, name: str, known: Iterable[str]) -> SettingError:
    """Returns the error for a name that is not known, with the nearest names.

    >>> print(unknown("optimizer", "adm", ["adam", "nadam", "rmsprop"]))
    unknown optimizer 'adm'; did you mean 'adam' or 'nadam'? Known: adam, nadam, rmsprop
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return SettingError(f"unknown {what} {name!r}{hint} Known: {', '.join(names)}")
