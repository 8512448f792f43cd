"""The budget of a run: it corrects the plan once, late, by the speed that the run really has."""

from dataclasses import dataclass, field
from typing import final

from ravine.core.ranks import ALONE, Ranks
from ravine.training.clock import Clock
from ravine.training.plan import Plan, correct_plan, is_time_to_correct


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Seconds that training and the final evaluation may take.

    Attributes:
        seconds: of the whole run; None for a run over a number of epochs.
        clock: the seconds used up.
        ranks: the processes that train together; rank 0's clock decides for all.
    """

    seconds: float | None = None
    clock: Clock = field(default_factory=Clock)
    ranks: Ranks = ALONE

    def corrected(self, plan: Plan, step: int, step_seconds: float) -> Plan:
        """Returns the plan, or where it is time a corrected one that fits into the budget.

        Args:
            plan: a plan for a budget, not yet corrected.
            step: steps done.
            step_seconds: mean seconds of a step so far.
        """
        elapsed, step_seconds = self.ranks.broadcast(self.clock.elapsed(), step_seconds)
        if self.seconds is None or not is_time_to_correct(plan, step, elapsed / self.seconds):
            return plan
        left = self.seconds - elapsed
        return correct_plan(plan, step=step, step_seconds=step_seconds, seconds_left=left)
