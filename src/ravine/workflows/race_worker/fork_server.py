"""A process that has everything imported and forks one child for each job.

    python -m ravine.workflows.race_worker.fork_server

Jobs come as JSON lines on standard input, and their ends go out as JSON lines.

Importing torch takes seconds, a fork a few milliseconds; yet every job has a process of its own, so
that one that dies, fills the memory or is stopped takes nothing with it. (`multiprocessing` has a
fork server, but that imports the user's own script again.) When whoever asks is gone, the input
ends, and the children are asked to save and leave.
"""

import gc
import json
import os
import select
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ravine.runs.rows import write_json
from ravine.tournament.job_graph import Job
from ravine.workflows.race_worker.job import do
from ravine.workflows.race_worker.pacing import measure

_LOOK_EVERY = 0.02


def serve() -> None:
    """Takes jobs from the standard input until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    children: dict[int, str] = {}
    open_, rest = True, b""
    gc.freeze()  # what is shared with the children stays shared
    while open_ or children:
        readable, _, _ = select.select([0] if open_ else [], [], [], _LOOK_EVERY)
        if readable:
            read = os.read(0, 1 << 16)
            open_ = bool(read)
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = _fork(order)
                children[pid] = order["key"]
                _tell({"started": order["key"], "pid": pid})
            if not open_:
                for pid in children:
                    os.kill(pid, signal.SIGTERM)
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            code = os.waitstatus_to_exitcode(status)
            _tell({"ended": children.pop(pid), "code": code})


def _tell(row: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):  # if nobody listens, the children are waited for all the same
        os.write(1, json.dumps(row).encode() + b"\n")


def _fork(order: dict[str, Any]) -> int:
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for handle, place in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(handle, place)
        os.environ.update(order["environment"])
        code = _work(order, parent=nursery)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _work(order: dict[str, Any], *, parent: int) -> int:
    """Does an order, writes its outcome, and returns the exit code; 3 if it was interrupted."""
    path = Path(order["outcome"])
    if "measure" in order:
        allowed = order["allow_code"]
        write_json(path, measure(order["measure"], seconds=order["seconds"], allow_code=allowed))
        return 0
    job = Job(**order["job"])
    outcome = do(
        job,
        Path(order["runs"]),
        told=Path(order["told"]),
        parent=parent,
        allow_code=order["allow_code"],
    )
    if outcome is None:
        return 3
    write_json(path, asdict(outcome))
    return 0


if __name__ == "__main__":
    serve()
