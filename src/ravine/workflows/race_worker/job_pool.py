"""What the controller asks of those who do the jobs: this machine, or a Ray cluster."""

from collections.abc import Mapping
from typing import Any, Protocol

from ravine.ops.kernel_plan import KernelPlan
from ravine.tournament.job_graph import Job


class JobPool(Protocol):
    """Does jobs, several at a time."""

    @property
    def slots(self) -> int:
        """Jobs at a time."""
        ...

    def use_kernels(self, kernels: KernelPlan) -> None:
        """Runs convolutions of all later jobs by this plan."""
        ...

    def start(self, job: Job) -> None:
        """Starts a job; there must be a free slot."""
        ...

    def measure(self, key: str, settings: Mapping[str, Any], *, with_steps: bool) -> None:
        """Starts a measurement, whose timing is written to the result file of `key`."""
        ...

    def finished(self, wait: float) -> list[str]:
        """Returns the keys of the jobs that have ended, after at most `wait` seconds."""
        ...

    def steps(self) -> dict[str, tuple[int, int]]:
        """Returns steps done and total steps of each running job, by key; 0 where unknown."""
        ...

    def close(self) -> None:
        """Asks the running jobs to save and leave, and waits for them."""
        ...
