"""The time budget of a surface."""

import math
import time
from dataclasses import dataclass, field

from ravine.core.errors import SettingError

LEAST_NODES = 25  # of a picture


@dataclass(slots=True, kw_only=True)
class Deadline:
    """The end of a budget; without one, never."""

    seconds: float | None
    start: float = field(default_factory=lambda: time.monotonic())

    @property
    def used(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self.start

    def allows(self, cost: float, *, share: float = 1.0) -> bool:
        """Returns whether work of `cost` seconds still fits into `share` of the budget."""
        return self.seconds is None or self.used + cost <= share * self.seconds


def check_time(deadline: Deadline, cost: float, nodes: int) -> None:
    """Raises `SettingError` if the rest of the budget is too short for a picture.

    Args:
        deadline: of the surface.
        cost: seconds of a node.
        nodes: that an earlier call computed.
    """
    if deadline.seconds is None or nodes >= LEAST_NODES:
        return
    left = deadline.seconds - deadline.used
    fits = max(0, int(left / max(cost, 1e-9))) + nodes
    if fits < LEAST_NODES:
        needed = math.ceil(deadline.seconds - left + 1.2 * LEAST_NODES * cost)
        raise SettingError(
            f"budget {deadline.seconds:g} s is too short: it leaves {fits} nodes of {cost:.2g} s, "
            f"and a picture needs {LEAST_NODES}; give at least {needed} s, or smaller batches"
        )
