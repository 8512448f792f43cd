"""Settings of the schedules of learning rate, momentum and weight decay."""

from collections.abc import Mapping
from functools import partial
from typing import Self

from pydantic import Field, model_validator

from ravine.core.settings import Settings
from ravine.core.validation import check_choice
from ravine.schedules.combine import with_floor
from ravine.schedules.curves import (
    ONE_CYCLE_RISE,
    SCHEDULES,
    Schedule,
    mirrored_cycle,
    with_warmup,
)

_LEAST_MOMENTUM = 0.85 / 0.95  # Smith 2018: from 0.95 to 0.85 and back


class ScheduleSettings(Settings):
    """Schedules of learning rate, momentum and weight decay from the first step to the last."""

    schedule: str = "one-cycle"
    """constant, step (the WRN paper's), cosine, one-cycle or linear."""

    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of training with a linear rise of the learning rate from 0, before the schedule."""

    momentum_schedule: str = "constant"
    """As schedule; one-cycle is mirrored: γ, 0.89 γ at the peak of lr, γ again (Smith 2018)."""

    decay_schedule: str = "constant"
    """As schedule, of the weight decay; warmup acts on the learning rate alone."""

    @model_validator(mode="after")
    def _known_schedule(self) -> Self:
        for name in ("schedule", "momentum_schedule", "decay_schedule"):
            check_choice(name, getattr(self, name), SCHEDULES)
        return self

    def build_schedule(self) -> Schedule:
        """Returns the factor of the learning rate as a function of progress in [0, 1]."""
        return with_warmup(SCHEDULES[self.schedule], share=self.warmup)

    def build_schedules(self) -> Mapping[str, Schedule]:
        """Returns the factor of each scheduled hyperparameter, by its name in a `Scheduler`."""
        scheduled = {"lr": self.build_schedule()}
        if self.momentum_schedule == "one-cycle":
            scheduled["momentum"] = with_floor(
                partial(mirrored_cycle, rise=self._progress_of_peak()), floor=_LEAST_MOMENTUM
            )
        elif self.momentum_schedule != "constant":
            scheduled["momentum"] = SCHEDULES[self.momentum_schedule]
        if self.decay_schedule != "constant":
            scheduled["weight_decay"] = SCHEDULES[self.decay_schedule]
        return scheduled

    def _progress_of_peak(self) -> float:
        """Returns the progress at which the learning rate first reaches its peak."""
        rise = ONE_CYCLE_RISE if self.schedule == "one-cycle" else 0.0
        return self.warmup + (1 - self.warmup) * rise
