"""Schedules: pure functions of progress, and a scheduler of an optimizer's hyperparameters."""

from ravine.schedules.combine import chain, level, reverse, with_floor
from ravine.schedules.curves import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    linear,
    mirrored_cycle,
    one_cycle,
    step,
    with_warmup,
)
from ravine.schedules.scheduler import Absolute, Curve, Scheduler, between

__all__ = [
    "SCHEDULES",
    "Absolute",
    "Curve",
    "Schedule",
    "Scheduler",
    "between",
    "chain",
    "constant",
    "cosine",
    "level",
    "linear",
    "mirrored_cycle",
    "one_cycle",
    "reverse",
    "step",
    "with_floor",
    "with_warmup",
]
