"""Schedules: pure functions of progress, and a scheduler of an optimizer's hyperparameters."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "SCHEDULES": "ravine.schedules.curves",
            "Absolute": "ravine.schedules.scheduler",
            "Curve": "ravine.schedules.scheduler",
            "Schedule": "ravine.schedules.curves",
            "Scheduler": "ravine.schedules.scheduler",
            "between": "ravine.schedules.scheduler",
            "chain": "ravine.schedules.combine",
            "constant": "ravine.schedules.curves",
            "cosine": "ravine.schedules.curves",
            "level": "ravine.schedules.combine",
            "linear": "ravine.schedules.curves",
            "mirrored_cycle": "ravine.schedules.curves",
            "one_cycle": "ravine.schedules.curves",
            "reverse": "ravine.schedules.combine",
            "step": "ravine.schedules.curves",
            "with_floor": "ravine.schedules.combine",
            "with_warmup": "ravine.schedules.curves",
        },
    )

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
