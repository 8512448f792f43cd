"""The clock of a budget: it starts when the data is ready and goes on after a resume."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Seconds used up so far, those of earlier processes of the same run included."""

    before: float = 0.0
    started: float = field(default_factory=lambda: time.monotonic())

    def elapsed(self) -> float:
        """Returns the seconds used up."""
        return self.before + time.monotonic() - self.started
