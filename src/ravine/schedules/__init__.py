"""Pure functions of progress: what a rate is multiplied by on the way."""

from ravine.schedules.curves import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    linear,
    one_cycle,
    step,
    with_warmup,
)

__all__ = [
    "SCHEDULES",
    "Schedule",
    "constant",
    "cosine",
    "linear",
    "one_cycle",
    "step",
    "with_warmup",
]
