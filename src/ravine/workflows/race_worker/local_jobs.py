"""Jobs on this machine: as many at a time as its cores or GPUs allow, each with its limits.

`Workers` is what a race asks of whoever does its jobs; `LocalWorkers` are processes of this machine
(`nursery`), `ray_jobs` those of a Ray cluster. A job that dies is started once more; one that
needs too long or too much memory is ended, and its outcome says so.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, final

from ravine.core.errors import RavineError
from ravine.runs.rows import read_json, write_json
from ravine.tournament.job_graph import Job, Outcome, Status
from ravine.workflows.race_worker.job import read_outcome

_INTERRUPTED = 3
_TRIES = 2
_LOOK_EVERY = 0.25
_GRACE = 30.0


@final
@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of a race lie."""

    race: Path

    @property
    def runs(self) -> Path:
        """The run folders of all trials."""
        return self.race / "runs"

    @property
    def outcomes(self) -> Path:
        """A file per job that is done."""
        return self.race / "outcomes"

    @property
    def plan(self) -> Path:
        """What is run."""
        return self.race / "plan.json"

    def outcome(self, key: str) -> Path:
        """Returns the file that says what became of a job."""
        return self.outcomes / f"{key}.json"

    def told(self, key: str) -> Path:
        """Returns the file that says how far a job is."""
        return self.outcomes / f"{key}.progress"

    def log(self, key: str) -> Path:
        """Returns the file with what a job printed."""
        return self.outcomes / f"{key}.log"


class Workers(Protocol):
    """Does jobs, several at a time."""

    slots: int

    def start(self, job: Job) -> None:
        """Starts a job; there must be a free slot."""
        ...

    def measure(self, key: str, settings: Mapping[str, Any], *, seconds: bool) -> None:
        """Starts a measurement, whose result lands in the outcome of `key`."""
        ...

    def finished(self, wait: float) -> list[str]:
        """Returns the keys of the jobs that have ended, after at most `wait` seconds."""
        ...

    def steps(self) -> dict[str, tuple[int, int]]:
        """Returns how far each running job is: steps done and all steps of the run."""
        ...

    def close(self) -> None:
        """Asks what runs to save and leave, and waits for it."""
        ...


@dataclass(slots=True, kw_only=True)
class _Running:
    order: dict[str, Any]
    job: Job | None
    slot: int
    since: float
    pid: int = 0
    tries: int = 1
    ended_by: tuple[Status, str] | None = None


@final
@dataclass(slots=True, kw_only=True)
class LocalWorkers:
    """Processes of this machine.

    Attributes:
        places: of the race.
        slots: jobs at a time.
        threads: of each job.
        memory: bytes that a job may take beside what all share; 0 for no limit.
        limit: seconds that a job may take; 0 for no limit.
        devices: GPU of each slot; empty on the CPU.
        allow_code: the `module:callable`s that a job may import as its network.
    """

    places: Places
    slots: int
    threads: int
    memory: int = 0
    limit: float = 0.0
    devices: tuple[str, ...] = ()
    allow_code: tuple[str, ...] = ()
    _running: dict[str, _Running] = field(default_factory=dict)
    _nursery: subprocess.Popen[bytes] | None = None
    _rest: bytes = b""
    _looked: float = 0.0

    def start(self, job: Job) -> None:
        """Starts a job; there must be a free slot."""
        self._send({"key": job.key, "job": asdict(job)}, job)

    def measure(self, key: str, settings: Mapping[str, Any], *, seconds: bool) -> None:
        """Starts a measurement, whose result lands in the outcome of `key`."""
        self._send({"key": key, "measure": dict(settings), "seconds": seconds}, None)

    def finished(self, wait: float) -> list[str]:
        """Returns the keys of the jobs that have ended, after at most `wait` seconds."""
        deadline = time.monotonic() + wait
        found: list[str] = []
        while not found and self._running and time.monotonic() < deadline:
            for row in self._told():
                if "started" in row:
                    self._running[row["started"]].pid = row["pid"]
                elif self._has_ended(row["ended"], row["code"]):
                    found.append(row["ended"])
            self._look()
        return found

    def steps(self) -> dict[str, tuple[int, int]]:
        """Returns how far each running job is: steps done and all steps of the run."""
        found = {}
        for key in self._running:
            try:
                done, total = self.places.told(key).read_text(encoding="utf-8").split()
                found[key] = (int(done), int(total))
            except (OSError, ValueError):
                found[key] = (0, 0)
        return found

    def close(self) -> None:
        """Asks what runs to save and leave, and waits for it."""
        if self._nursery is None:
            return
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.close()
        try:
            self._nursery.wait(_GRACE)
        except subprocess.TimeoutExpired:
            for running in self._running.values():
                _kill(running.pid)
            self._nursery.kill()
            self._nursery.wait()
        self._nursery.stdout.close()
        self._nursery = None
        for key in self._running:
            self._clean(key)
        self._running.clear()

    def _send(self, order: dict[str, Any], job: Job | None, *, tries: int = 1) -> None:
        key = order["key"]
        taken = {running.slot for running in self._running.values()}
        slot = min(set(range(self.slots)) - taken)
        environment = {"CUDA_VISIBLE_DEVICES": self.devices[slot]} if self.devices else {}
        order |= {
            "runs": str(self.places.runs),
            "outcome": str(self.places.outcome(key)),
            "told": str(self.places.told(key)),
            "log": str(self.places.log(key)),
            "environment": environment,
            "allow_code": list(self.allow_code),
        }
        for file in (self.places.told(key), self.places.log(key)):
            file.unlink(missing_ok=True)  # a link there would be written through
        self._running[key] = _Running(
            order=order, job=job, slot=slot, since=time.monotonic(), tries=tries
        )
        nursery = self._open()
        assert nursery.stdin is not None
        nursery.stdin.write(json.dumps(order).encode() + b"\n")
        nursery.stdin.flush()

    def _open(self) -> subprocess.Popen[bytes]:
        if self._nursery is None:
            names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
            # A session of its own: Ctrl-C is for the race, which then asks its jobs to leave.
            self._nursery = subprocess.Popen(
                # -P: the working folder, which may be a stranger's, is not searched for modules.
                [sys.executable, "-P", "-m", "ravine.workflows.race_worker.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **dict.fromkeys(names, str(self.threads))},
                start_new_session=True,
            )
            assert self._nursery.stdout is not None
            os.set_blocking(self._nursery.stdout.fileno(), False)
        return self._nursery

    def _told(self) -> list[dict[str, Any]]:
        nursery = self._open()
        assert nursery.stdout is not None
        read = nursery.stdout.read()
        if not read:
            if nursery.poll() is not None:
                raise RuntimeError(f"the nursery of the jobs ended with code {nursery.returncode}")
            time.sleep(0.01)
            return []
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def _has_ended(self, key: str, code: int) -> bool:
        """Returns whether a job has ended for good; one that died is started once more."""
        running = self._running.pop(key)
        text = self._clean(key)
        if running.ended_by is not None and running.job is not None:
            status, why = running.ended_by
            self._write(running.job, status, why)
        elif code in (0, _INTERRUPTED):
            pass
        elif running.tries < _TRIES:
            self._send(running.order, running.job, tries=running.tries + 1)
            return False
        elif running.job is None:
            raise RavineError(f"measuring a step failed: {text or f'code {code}'}")
        elif code == -signal.SIGKILL:
            self._write(running.job, "memory", "killed by the system twice: out of memory?")
        else:
            self._write(running.job, "failed", text or f"its process ended with code {code}")
        return True

    def _write(self, job: Job, status: Status, text: str) -> None:
        outcome = read_outcome(self.places.runs / job.run, status=status, text=text)
        write_json(self.places.outcome(job.key), asdict(outcome))

    def _clean(self, key: str) -> str:
        """Removes what a job leaves beside its outcome, and returns the last line it printed."""
        self.places.told(key).unlink(missing_ok=True)
        log = self.places.log(key)
        lines = (
            log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
        )
        log.unlink(missing_ok=True)
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _look(self) -> None:
        """Ends the jobs that have gone over their limits."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        for running in self._running.values():
            if not running.pid or running.job is None or running.ended_by is not None:
                continue
            if self.limit and now - running.since > self.limit:
                running.ended_by = ("time", f"took longer than its limit of {self.limit:.0f} s")
            elif self.memory and own_memory(running.pid) > self.memory:
                text = f"took more than its limit of {self.memory / 2**30:.1f} GiB of memory"
                running.ended_by = ("memory", text)
            if running.ended_by is not None:
                _kill(running.pid)


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


def read_outcomes(places: Places) -> dict[str, Outcome]:
    """Returns the outcomes that lie on disk, by job."""
    return {
        path.name.removesuffix(".json"): Outcome(**read_json(path))
        for path in sorted(places.outcomes.glob("*@*.json"))
    }


def machine_memory() -> int:
    """Returns the bytes of memory of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
