"""Jobs on this machine: as many at a time as its cores or GPUs allow, each with its limits.

Every job is a child of the fork server. A job that dies is started once more; one that needs too
long or too much memory is ended, and its outcome says so.
"""

import os
import re
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from ravine.core.errors import RavineError
from ravine.ops.kernel_plan import KernelPlan
from ravine.tournament.job_graph import Job, Status
from ravine.workflows.race_worker.fork_client import ForkClient
from ravine.workflows.race_worker.job import outcome_of
from ravine.workflows.race_worker.messages import (
    INTERRUPTED,
    ForkRequest,
    JobStarted,
    MeasureTask,
    Task,
    TrainTask,
)
from ravine.workflows.race_worker.race_folder import RaceFolder

_TRIES = 2
_POLL_SECONDS = 0.01
_CHECK_EVERY = 0.25  # seconds between two checks of the limits
_GRACE = 30.0  # seconds in which the jobs save and leave
_CLASS = re.compile(r"ravine\.[\w.]+: ")  # of an error, before its message


def why_it_ended(exit_code: int, last_line: str) -> str:
    """Returns why a process failed that was started twice.

    Args:
        exit_code: of the process, -N for signal N.
        last_line: of what it printed; a mistake of the user's stands there with its class.

    >>> why_it_ended(1, "ravine.core.errors.SettingError: batch 3 is too small")
    'batch 3 is too small'
    """
    if exit_code == -signal.SIGKILL:
        return "killed by the system twice: out of memory? take a smaller --batch, or --model"
    mistake = _CLASS.match(last_line)
    named = last_line[mistake.end() :] if mistake else last_line
    return named or f"its process ended with code {exit_code}"


@dataclass(slots=True, kw_only=True)
class _Running:
    """A job that runs, and why it was ended from outside, if it was."""

    request: ForkRequest
    slot: int
    since: float
    pid: int = 0
    tries: int = 1
    ended_by: tuple[Status, str] | None = None

    @property
    def job(self) -> Job | None:
        """The job; None for a measurement."""
        task = self.request.task
        return task.job if isinstance(task, TrainTask) else None


@final
@dataclass(slots=True, kw_only=True)
class LocalJobPool:
    """Processes of this machine.

    Attributes:
        folder: of the race.
        slots: jobs at a time.
        threads: of each job.
        memory: private bytes of a job, without those that all share; 0 for no limit.
        limit: seconds of a job; 0 for no limit.
        devices: GPU of each slot; empty on the CPU.
        allow_code: the `module:callable`s that a job may import as its network.
        kernels: the plan of all jobs' convolutions, once decided.
        client: of the fork server; one of its own is started with the first job.
    """

    folder: RaceFolder
    slots: int
    threads: int
    memory: int = 0
    limit: float = 0.0
    devices: tuple[str, ...] = ()
    allow_code: tuple[str, ...] = ()
    kernels: KernelPlan | None = None
    client: ForkClient | None = None
    _running: dict[str, _Running] = field(default_factory=dict)
    _checked: float = 0.0

    def use_kernels(self, kernels: KernelPlan) -> None:
        """Runs convolutions of all later jobs by this plan."""
        self.kernels = kernels

    def start(self, job: Job) -> None:
        """Starts a job; there must be a free slot."""
        self.submit(TrainTask.of(job))

    def measure(self, key: str, settings: Mapping[str, Any], *, with_steps: bool) -> None:
        """Starts a measurement, whose timing is written to the result file of `key`."""
        self.submit(MeasureTask(key=key, settings=dict(settings), with_steps=with_steps))

    def submit(self, task: Task) -> None:
        """Starts a task; there must be a free slot."""
        self._send(task, tries=1)

    def finished(self, wait: float) -> list[str]:
        """Returns the keys of the jobs that have ended, after at most `wait` seconds."""
        deadline = time.monotonic() + wait
        ended: list[str] = []
        while not ended and self._running and time.monotonic() < deadline:
            events = self._fork_server().events()
            for event in events:
                if isinstance(event, JobStarted):
                    self._running[event.key].pid = event.pid
                elif self._has_ended(event.key, event.exit_code):
                    ended.append(event.key)
            if not events:
                time.sleep(_POLL_SECONDS)
            self._check_limits()
        return ended

    def steps(self) -> dict[str, tuple[int, int]]:
        """Returns steps done and total steps of each running job, by key; 0 where unknown."""
        found = {}
        for key in self._running:
            try:
                done, total = self.folder.progress(key).read_text(encoding="utf-8").split()
                found[key] = (int(done), int(total))
            except (OSError, ValueError):
                found[key] = (0, 0)
        return found

    def close(self) -> None:
        """Asks the running jobs to save and leave, and waits for them."""
        if self.client is None:
            return
        if not self.client.close(grace=_GRACE):
            for running in self._running.values():
                _kill(running.pid)
            self.client.kill()
        self.client = None
        for key in self._running:
            self._clean(key)
        self._running.clear()

    def _fork_server(self) -> ForkClient:
        if self.client is None:
            self.client = ForkClient(self.threads)
        return self.client

    def _send(self, task: Task, *, tries: int) -> None:
        key = task.key
        taken = {running.slot for running in self._running.values()}
        slot = min(set(range(self.slots)) - taken)
        request = ForkRequest(
            task=task,
            runs=self.folder.runs,
            result=self.folder.result(key),
            progress=self.folder.progress(key),
            log=self.folder.log(key),
            environment={"CUDA_VISIBLE_DEVICES": self.devices[slot]} if self.devices else {},
            allow_code=self.allow_code,
            kernels=self.kernels,
        )
        for file in (request.progress, request.log):
            file.unlink(missing_ok=True)  # a link there would be written through
        self._running[key] = _Running(
            request=request, slot=slot, since=time.monotonic(), tries=tries
        )
        self._fork_server().send(request)

    def _has_ended(self, key: str, exit_code: int) -> bool:
        """Returns whether a job has ended for good; one that died is started once more."""
        running = self._running.pop(key)
        last_line = self._clean(key)
        job = running.job
        if running.ended_by is not None and job is not None:
            self._write(job, *running.ended_by)
        elif exit_code in (0, INTERRUPTED):
            pass
        elif running.tries < _TRIES:
            self._send(running.request.task, tries=running.tries + 1)
            return False
        elif job is None:
            raise RavineError(f"measuring a step failed: {why_it_ended(exit_code, last_line)}")
        else:
            status: Status = "memory" if exit_code == -signal.SIGKILL else "failed"
            self._write(job, status, why_it_ended(exit_code, last_line))
        return True

    def _write(self, job: Job, status: Status, text: str) -> None:
        outcome = outcome_of(self.folder.runs / job.run, status=status, text=text)
        self.folder.write_outcome(job.key, outcome)

    def _clean(self, key: str) -> str:
        """Removes the progress and log of a job, and returns the last line of the log."""
        self.folder.progress(key).unlink(missing_ok=True)
        log = self.folder.log(key)
        lines = (
            log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
        )
        log.unlink(missing_ok=True)
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _check_limits(self) -> None:
        """Ends the jobs that have gone over their limits."""
        now = time.monotonic()
        if now - self._checked < _CHECK_EVERY:
            return
        self._checked = now
        for running in self._running.values():
            if not running.pid or running.job is None or running.ended_by is not None:
                continue
            running.ended_by = self._exceeded(running, now)
            if running.ended_by is not None:
                _kill(running.pid)

    def _exceeded(self, running: _Running, now: float) -> tuple[Status, str] | None:
        if self.limit and now - running.since > self.limit:
            return "time", f"took longer than its limit of {self.limit:.0f} s"
        if self.memory and own_memory(running.pid) > self.memory:
            gigabytes = self.memory / 2**30
            return "memory", f"took more than its limit of {gigabytes:.1f} GiB of memory"
        return None


def own_memory(pid: int) -> int:
    """Returns the bytes of memory that are a process's own; 0 where the system does not say."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
