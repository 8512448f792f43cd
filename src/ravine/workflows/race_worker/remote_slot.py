"""A process that does the tasks of one slot of a Ray cluster, one after the other.

    python -m ravine.workflows.race_worker.remote_slot

The name of a folder with a request arrives as a line on standard input; the same line leaves on
standard output when the result lies in the folder. The fork server is a fork of this process, so
that torch is loaded once.
"""

import os
import sys
from pathlib import Path

from ravine.workflows.race_worker.fork_client import ForkClient
from ravine.workflows.race_worker.forked_server import ForkedServer
from ravine.workflows.race_worker.local_jobs import LocalJobPool
from ravine.workflows.race_worker.messages import (
    RemoteRequest,
    TrainTask,
    read_outcome,
    read_timing,
)
from ravine.workflows.race_worker.packed_folder import pack, unpack
from ravine.workflows.race_worker.race_folder import RaceFolder
from ravine.workflows.race_worker.ray_slot import PACKED, REQUEST, RESULT, RUN

_WAIT_SECONDS = 1.0  # between two looks at whether the worker is still there


def serve() -> None:
    """Does the tasks whose folders are named on the standard input, until it ends."""
    worker = os.getppid()
    threads = int(os.environ["OMP_NUM_THREADS"])
    client = ForkClient(threads, spawn=lambda _: ForkedServer.start())
    client.start()  # before anything here has threads
    for line in sys.stdin:
        if not _work(Path(line.rstrip("\n")), client, worker=worker):
            break
        sys.stdout.write(line)
        sys.stdout.flush()
    client.close(grace=0.0)


def _work(folder: Path, client: ForkClient, *, worker: int) -> bool:
    """Does one task; returns False if the worker ended before it was done.

    Raises:
        ValueError: the text is no `RemoteRequest`.
        RunError: the job left no valid result.
    """
    request = RemoteRequest.from_json((folder / REQUEST).read_bytes())
    task = request.task
    race = RaceFolder(folder / "race")
    race.runs.mkdir(parents=True)
    race.outcomes.mkdir()
    run = race.runs / task.run if isinstance(task, TrainTask) else None
    if run is not None:
        unpack((folder / PACKED).read_bytes(), run)
    pool = LocalJobPool(
        folder=race,
        slots=1,
        threads=request.threads,
        memory=request.memory,
        limit=request.limit,
        allow_code=request.allow_code,
        kernels=request.kernels,
        client=client,
    )
    pool.submit(task)
    while not pool.finished(_WAIT_SECONDS):
        if os.getppid() != worker:
            pool.close()
            return False
    result = race.result(task.key)
    if run is None:
        read_timing(result)
    else:
        read_outcome(result)
    (folder / RESULT).write_bytes(result.read_bytes())
    (folder / RUN).write_bytes(pack(run) if run is not None else b"")
    return True


if __name__ == "__main__":
    serve()
