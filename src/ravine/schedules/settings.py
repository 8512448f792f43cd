"""Settings of the learning rate's way through training."""

from typing import Self

from pydantic import Field, model_validator

from ravine.core.checks import check_choice
from ravine.core.settings import Settings
from ravine.schedules.curves import SCHEDULES, Schedule, with_warmup


class ScheduleSettings(Settings):
    """How the learning rate moves from the first step to the last."""

    schedule: str = "one-cycle"
    """constant, step (the WRN paper's), cosine, one-cycle or linear."""

    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of training over which the rate first rises from 0 (one-cycle has its own rise)."""

    @model_validator(mode="after")
    def _known_schedule(self) -> Self:
        check_choice("schedule", self.schedule, SCHEDULES)
        return self

    def build_schedule(self) -> Schedule:
        """Returns the factor of the rate as a function of progress in [0, 1]."""
        return with_warmup(SCHEDULES[self.schedule], share=self.warmup)
