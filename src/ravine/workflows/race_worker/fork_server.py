"""A process that has everything imported and forks one child for each job.

    python -m ravine.workflows.race_worker.fork_server

`ForkRequest`s arrive as JSON lines on standard input; `JobStarted` and `JobEnded` leave as JSON
lines on standard output.

Importing torch takes seconds, a fork a few milliseconds; yet every job has a process of its own, so
that one that dies, fills the memory or is stopped takes nothing with it. (`multiprocessing` has a
fork server, but that imports the user's own script again.) When the controller is gone, the input
ends, and the children are asked to save and leave.
"""

import gc
import os
import select
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import final

from ravine.models.table import FAMILIES
from ravine.optim.optimizers import OPTIMIZERS
from ravine.runs.rows import write_json
from ravine.workflows.race_worker.job import run_job
from ravine.workflows.race_worker.messages import (
    INTERRUPTED,
    ForkEvent,
    ForkRequest,
    JobEnded,
    JobStarted,
    MeasureTask,
)
from ravine.workflows.race_worker.timing import measure

_POLL_SECONDS = 0.02
# What a run loads when it first needs it: here once for all children.
_SHARED = (
    "ravine.reports.page",
    "ravine.workflows.new_run",
    *(row.path.partition(":")[0] for row in OPTIMIZERS.values()),
    *(row.build.partition(":")[0] for row in FAMILIES.values() if row.build is not None),
)


@final
@dataclass(slots=True)
class _Server:
    """The children by process id, and the input that is left of the last read."""

    children: dict[int, str] = field(default_factory=dict)
    open: bool = True
    rest: bytes = b""

    def receive(self) -> None:
        """Forks a child for each request that has arrived; at the end of input, stops all."""
        readable, _, _ = select.select([0] if self.open else [], [], [], _POLL_SECONDS)
        if not readable:
            return
        read = os.read(0, 1 << 16)
        *lines, self.rest = (self.rest + read).split(b"\n")
        for line in lines:
            request = ForkRequest.from_json(line)
            pid = _fork(request)
            self.children[pid] = request.task.key
            _send(JobStarted(key=request.task.key, pid=pid))
        if not read:
            self.open = False
            for pid in self.children:
                os.kill(pid, signal.SIGTERM)

    def reap(self) -> None:
        """Reports the children that have ended."""
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            _send(JobEnded(key=self.children.pop(pid), exit_code=code))


def serve() -> None:
    """Takes requests from the standard input until it ends and all children have ended."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for module in _SHARED:
        import_module(module)
    gc.freeze()  # memory that is shared with the children stays shared
    server = _Server()
    while server.open or server.children:
        server.receive()
        server.reap()


def _send(event: ForkEvent) -> None:
    with suppress(BrokenPipeError):  # without a reader, the children are waited for all the same
        os.write(1, event.to_json().encode() + b"\n")


def _fork(request: ForkRequest) -> int:
    """Returns the process id of a child that does the task of a request."""
    server = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _redirect(request)
        code = _work(request, parent=server)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(request: ForkRequest) -> None:
    """Gives this child its signals, its log and its environment."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, descriptor in ((empty, 0), (log, 1), (log, 2)):
        os.dup2(source, descriptor)
    os.environ.update(request.environment)


def _work(request: ForkRequest, *, parent: int) -> int:
    """Does a task, writes its result, and returns the exit code."""
    task = request.task
    if isinstance(task, MeasureTask):
        timing = measure(
            task.settings,
            with_steps=task.with_steps,
            allow_code=request.allow_code,
            kernels=request.kernels,
        )
        write_json(request.result, asdict(timing))
        return 0
    outcome = run_job(
        task.job,
        request.runs,
        progress=request.progress,
        parent=parent,
        allow_code=request.allow_code,
        kernels=request.kernels,
    )
    if outcome is None:
        return INTERRUPTED
    write_json(request.result, asdict(outcome))
    return 0


if __name__ == "__main__":
    serve()
