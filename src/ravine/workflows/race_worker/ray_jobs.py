"""The same jobs on a Ray cluster: the race stays here, the training goes where there is room.

A job travels with its run folder, packed as it is, and comes back with it, so that machines need no
common disk; the data must lie at the same path on each. A machine that dies takes nothing with
it: Ray starts the job elsewhere, from what was sent, and it ends bitwise as it would have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

from ravine.core.atomic import write_whole
from ravine.core.ray_cluster import connect
from ravine.ops.kernel_plan import KernelPlan
from ravine.tournament.job_graph import Job, Outcome
from ravine.workflows.race_worker.messages import MeasureTask, RemoteRequest, Task, TrainTask
from ravine.workflows.race_worker.packed_folder import pack, unpack
from ravine.workflows.race_worker.race_folder import RaceFolder
from ravine.workflows.race_worker.ray_slot import run_remote

_RETRIES = 3


@final
@dataclass(slots=True, kw_only=True)
class RayJobPool:
    """Jobs of a Ray cluster.

    Attributes:
        folder: of the race.
        slots: jobs at a time.
        threads: of each, which are also the cores that it asks Ray for.
        memory: bytes of a job; 0 for no limit.
        limit: seconds of a job; 0 for no limit.
        ray: the module.
        allow_code: the `module:callable`s that a job may import as its network.
        kernels: the plan of all jobs' convolutions, once decided.
    """

    folder: RaceFolder
    slots: int
    threads: int
    memory: int
    limit: float
    ray: Any
    allow_code: tuple[str, ...] = ()
    kernels: KernelPlan | None = None
    _running: dict[str, tuple[Any, Task]] = field(default_factory=dict)
    _remote: Any = None

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        folder: RaceFolder,
        threads: int,
        memory: int,
        limit: float,
        allow_code: tuple[str, ...] = (),
    ) -> Self:
        """Returns the jobs of the cluster at `address`.

        Raises:
            SettingError: Ray is not installed, or no cluster answers there.
        """
        ray = connect(address)
        slots = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        return cls(
            folder=folder,
            slots=slots,
            threads=threads,
            memory=memory,
            limit=limit,
            ray=ray,
            allow_code=allow_code,
        )

    def use_kernels(self, kernels: KernelPlan) -> None:
        """Runs convolutions of all later jobs by this plan."""
        self.kernels = kernels

    def start(self, job: Job) -> None:
        """Starts a job; there must be a free slot."""
        self._submit(TrainTask.of(job), pack(self.folder.runs / job.run))

    def measure(self, key: str, settings: Mapping[str, Any], *, with_steps: bool) -> None:
        """Starts a measurement, whose timing is written to the result file of `key`."""
        self._submit(MeasureTask(key=key, settings=dict(settings), with_steps=with_steps), b"")

    def finished(self, wait: float) -> list[str]:
        """Returns the keys of the jobs that have ended, after at most `wait` seconds."""
        if not self._running:
            return []
        by_reference = {reference: key for key, (reference, _) in self._running.items()}
        ready, _ = self.ray.wait(list(by_reference), num_returns=1, timeout=wait)
        ended = []
        for reference in ready:
            key = by_reference[reference]
            _, task = self._running.pop(key)
            self._receive(task, reference)
            ended.append(key)
        return ended

    def steps(self) -> dict[str, tuple[int, int]]:
        """Returns the running jobs; their steps are known on their machines only."""
        return dict.fromkeys(self._running, (0, 0))

    def close(self) -> None:
        """Cancels the running jobs; they begin again from the folders that were sent."""
        for reference, _ in self._running.values():
            self.ray.cancel(reference, force=True)
        self._running.clear()

    def _submit(self, task: Task, packed: bytes) -> None:
        request = RemoteRequest(
            task=task,
            threads=self.threads,
            memory=self.memory,
            limit=self.limit,
            allow_code=self.allow_code,
            kernels=self.kernels,
        )
        # One function for all tasks: Ray keeps the workers that have run it.
        if self._remote is None:
            self._remote = self.ray.remote(num_cpus=self.threads, max_retries=_RETRIES)(run_remote)
        reference = self._remote.remote(request.to_json(), packed, self.threads)
        self._running[task.key] = (reference, task)

    def _receive(self, task: Task, reference: Any) -> None:
        """Writes the result of a job, and its run folder."""
        try:
            result, packed = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            if isinstance(task, MeasureTask):
                raise
            line = str(error).strip().splitlines()[0]
            failed = Outcome(status="failed", text=f"the cluster gave it up: {line}")
            self.folder.write_outcome(task.key, failed)
            return
        if isinstance(task, TrainTask):
            unpack(packed, self.folder.runs / task.run)
        write_whole(self.folder.result(task.key), result)
