"""Ravine trains convolutional image classifiers and shows why a run goes right or wrong.

The front door is lazy (PEP 562): a name is loaded when it is first used, so that
`ravine.optim` in somebody's own loop loads neither training nor plotting.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ravine import data, landscapes, models, nn, optim, schedules
    from ravine.diagnosis.checks import check
    from ravine.diagnosis.monitor import Monitor
    from ravine.experiment import resume, train, verify
    from ravine.landscapes import Surface, landscape
    from ravine.races.race import Race, race
    from ravine.run import Run

_NAMES = {
    "Monitor": "ravine.diagnosis.monitor",
    "Race": "ravine.races.race",
    "Run": "ravine.run",
    "Surface": "ravine.runs.surface",
    "check": "ravine.diagnosis.checks",
    "landscape": "ravine.landscapes.landscape",
    "race": "ravine.races.race",
    "resume": "ravine.experiment",
    "train": "ravine.experiment",
    "verify": "ravine.experiment",
}
_ROOMS = ("data", "landscapes", "models", "nn", "optim", "schedules")

__all__ = [
    "Monitor",
    "Race",
    "Run",
    "Surface",
    "check",
    "data",
    "landscape",
    "landscapes",
    "models",
    "nn",
    "optim",
    "race",
    "resume",
    "schedules",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    if name in _ROOMS:
        return import_module(f"ravine.{name}")
    raise AttributeError(f"module 'ravine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
