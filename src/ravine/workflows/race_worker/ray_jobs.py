"""The same jobs on a Ray cluster: the race stays here, the training goes where there is room.

A job travels with its run folder, packed as it is, and comes back with it, so that machines need no
common disk; the data must lie at the same path on each. A machine that dies takes nothing with
it: Ray starts the job elsewhere, from what was sent, and it ends bitwise as it would have.
"""

import io
import json
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, final

from ravine.core.errors import SettingError
from ravine.runs.rows import read_json, write_json
from ravine.tournament.job_graph import Job, Outcome
from ravine.workflows.race_settings import RaceSettings
from ravine.workflows.race_worker.local_jobs import LocalWorkers, Places

_RETRIES = 3
_ANSWERS_WITHIN = 5.0


@final
@dataclass(slots=True, kw_only=True)
class RayWorkers:
    """Jobs of a Ray cluster.

    Attributes:
        places: of the race.
        slots: jobs at a time.
        threads: of each, which are also the cores that it asks Ray for.
        rules: of the race, for the limits.
        allow_code: the `module:callable`s that a job may import as its network.
        ray: the module.
    """

    places: Places
    slots: int
    threads: int
    rules: RaceSettings
    ray: Any
    allow_code: tuple[str, ...] = ()
    _running: dict[str, tuple[Any, Job | None]] = field(default_factory=dict)

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        places: Places,
        threads: int,
        rules: RaceSettings,
        allow_code: tuple[str, ...] = (),
    ) -> Self:
        """Returns the workers of the cluster at `address`.

        Raises:
            SettingError: Ray is not installed, or nothing answers there.
        """
        try:
            import ray
        except ImportError:
            raise SettingError(
                "--ray needs Ray, which is not installed: pip install 'ravine[ray]'"
            ) from None
        _knock(address)
        if not ray.is_initialized():
            try:
                ray.init(address=address, log_to_driver=False, logging_level="error")
            except (ConnectionError, RuntimeError, ValueError) as error:
                first = str(error).strip().splitlines()[0]
                raise SettingError(
                    f"no Ray cluster answers at {address} ({first}); start one: ray start --head"
                ) from None
        cores = int(ray.cluster_resources().get("CPU", 1))
        return cls(
            places=places,
            slots=max(1, cores // threads),
            threads=threads,
            rules=rules,
            ray=ray,
            allow_code=allow_code,
        )

    def start(self, job: Job) -> None:
        """Starts a job; there must be a free slot."""
        sent = pack(self.places.runs / job.run)
        order = {"job": asdict(job), "allow_code": list(self.allow_code)}
        self._running[job.key] = (self._remote().remote(order, sent), job)

    def measure(self, key: str, settings: Mapping[str, Any], *, seconds: bool) -> None:
        """Starts a measurement, whose result lands in the outcome of `key`."""
        order = {"key": key, "measure": dict(settings), "seconds": seconds}
        order["allow_code"] = list(self.allow_code)
        self._running[key] = (self._remote().remote(order, b""), None)

    def finished(self, wait: float) -> list[str]:
        """Returns the keys of the jobs that have ended, after at most `wait` seconds."""
        if not self._running:
            return []
        by_reference = {reference: key for key, (reference, _) in self._running.items()}
        ready, _ = self.ray.wait(list(by_reference), num_returns=1, timeout=wait)
        found = []
        for reference in ready:
            key = by_reference[reference]
            _, job = self._running.pop(key)
            self._take(key, job, reference)
            found.append(key)
        return found

    def steps(self) -> dict[str, tuple[int, int]]:
        """Returns the running jobs; how far they are is known on their machines only."""
        return dict.fromkeys(self._running, (0, 0))

    def close(self) -> None:
        """Ends what runs; it begins again from where it was sent."""
        for reference, _ in self._running.values():
            self.ray.cancel(reference, force=True)
        self._running.clear()

    def _take(self, key: str, job: Job | None, reference: Any) -> None:
        try:
            result, packed = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            if job is None:
                raise
            line = str(error).strip().splitlines()[0]
            write_json(
                self.places.outcome(key),
                asdict(Outcome(status="failed", text=f"the cluster gave it up: {line}")),
            )
            return
        if job is not None:
            unpack(packed, self.places.runs / job.run)
        write_json(self.places.outcome(key), result)

    def _remote(self) -> Any:
        memory, limit = self.rules.memory or 0, self.rules.limit or 0.0
        work = self.ray.remote(num_cpus=self.threads, max_retries=_RETRIES)(do_order)
        return _Bound(work, self.threads, memory, limit)


@final
@dataclass(frozen=True, slots=True)
class _Bound:
    work: Any
    threads: int
    memory: int
    limit: float

    def remote(self, order: dict[str, Any], sent: bytes) -> Any:
        return self.work.remote(order, sent, self.threads, self.memory, self.limit)


def do_order(
    order: dict[str, Any], sent: bytes, threads: int, memory: int, limit: float
) -> tuple[dict[str, Any], bytes]:
    """Does one job on whatever machine this is; returns its outcome and its packed run folder.

    The training runs in a process of its own, with the same limits as on one's own machine.
    """
    with tempfile.TemporaryDirectory(prefix="ravine-") as folder:
        places = Path(folder) / "race"
        (places / "runs").mkdir(parents=True)
        (places / "outcomes").mkdir()
        told = Path(folder) / "order.json"
        told.write_text(json.dumps(order), encoding="utf-8")
        run = order["job"]["run"] if "job" in order else None
        if run is not None:
            unpack(sent, places / "runs" / run)
        values = [str(places), str(threads), str(memory), str(limit)]
        subprocess.run([sys.executable, "-P", "-m", __name__, str(told), *values], check=True)
        (outcome,) = (places / "outcomes").glob("*.json")
        packed = pack(places / "runs" / run) if run is not None else b""
        return read_json(outcome), packed


def pack(path: Path) -> bytes:
    """Returns a folder as bytes; nothing where there is none."""
    if not path.is_dir():
        return b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=".")
    return buffer.getvalue()


def unpack(packed: bytes, path: Path) -> None:
    """Puts a packed folder at `path`, over what lies there."""
    if not packed:
        return
    path.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(path, filter="data")


def _knock(address: str) -> None:
    """Raises `SettingError` unless something answers at a host and port."""
    if address in ("auto", "local"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise SettingError(f"ray {address!r} is no address; write HOST:PORT, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise SettingError(
            f"no Ray cluster answers at {address} ({why}); start one: ray start --head"
        ) from None


def _work(arguments: list[str]) -> None:
    """Does the order in a file with local workers: their nursery, limits and second try."""
    told, race, threads, memory, limit = arguments
    order = json.loads(Path(told).read_text(encoding="utf-8"))
    workers = LocalWorkers(
        places=Places(Path(race)),
        slots=1,
        threads=int(threads),
        memory=int(memory),
        limit=float(limit),
        allow_code=tuple(order["allow_code"]),
    )
    try:
        if "measure" in order:
            workers.measure(order["key"], order["measure"], seconds=order["seconds"])
        else:
            workers.start(Job(**order["job"]))
        while not workers.finished(1.0):
            time.sleep(0)
    finally:
        workers.close()


if __name__ == "__main__":
    _work(sys.argv[1:])
