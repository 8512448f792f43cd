"""Ravine trains convolutional image classifiers and shows why a run goes right or wrong.

The front door is lazy (PEP 562): a name is loaded when it is first used, so that
`ravine.optim` in somebody's own loop loads neither training nor plotting.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ravine import data, landscapes, models, nn, optim, schedules
    from ravine.checks.examine import check
    from ravine.core.errors import (
        DataError,
        RavineError,
        RunError,
        SettingError,
        TrainingDiverged,
    )
    from ravine.core.version import __version__
    from ravine.exports.own_network import export
    from ravine.landscapes import Surface, landscape
    from ravine.monitor.monitor import Monitor
    from ravine.training.stop import Interrupted
    from ravine.workflows.race import Race, race
    from ravine.workflows.resume import resume, verify
    from ravine.workflows.run import Run
    from ravine.workflows.train import train

_NAMES = {
    "DataError": "ravine.core.errors",
    "Interrupted": "ravine.training.stop",
    "Monitor": "ravine.monitor.monitor",
    "Race": "ravine.workflows.race",
    "RavineError": "ravine.core.errors",
    "Run": "ravine.workflows.run",
    "RunError": "ravine.core.errors",
    "SettingError": "ravine.core.errors",
    "Surface": "ravine.runs.surface",
    "TrainingDiverged": "ravine.core.errors",
    "__version__": "ravine.core.version",
    "check": "ravine.checks.examine",
    "export": "ravine.exports.own_network",
    "landscape": "ravine.landscapes.loss_surface",
    "race": "ravine.workflows.race",
    "resume": "ravine.workflows.resume",
    "train": "ravine.workflows.train",
    "verify": "ravine.workflows.resume",
}
_ROOMS = ("data", "landscapes", "models", "nn", "optim", "schedules")

__all__ = [
    "DataError",
    "Interrupted",
    "Monitor",
    "Race",
    "RavineError",
    "Run",
    "RunError",
    "SettingError",
    "Surface",
    "TrainingDiverged",
    "__version__",
    "check",
    "data",
    "export",
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
