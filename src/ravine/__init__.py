"""Ravine trains convolutional image classifiers and shows why a run goes right or wrong.

The front door is lazy (PEP 562): a name is loaded when it is first used, so that
`ravine.optim` in somebody's own loop loads neither training nor plotting.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ravine import data, landscapes, models, nn, optim, schedules
    from ravine.checks.examine import check
    from ravine.landscapes import Surface, landscape
    from ravine.monitor.monitor import Monitor
    from ravine.workflows.race import Race, race
    from ravine.workflows.resume import resume, verify
    from ravine.workflows.run import Run
    from ravine.workflows.train import train

_NAMES = {
    "Monitor": "ravine.monitor.monitor",
    "Race": "ravine.workflows.race",
    "Run": "ravine.workflows.run",
    "Surface": "ravine.runs.surface",
    "check": "ravine.checks.examine",
    "landscape": "ravine.landscapes.loss_surface",
    "race": "ravine.workflows.race",
    "resume": "ravine.workflows.resume",
    "train": "ravine.workflows.train",
    "verify": "ravine.workflows.resume",
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
