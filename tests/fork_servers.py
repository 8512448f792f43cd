"""Forks the fork servers of races from one process that has everything imported already.

A fork server of its own imports torch for seconds; a test session starts a dozen of them. What is
forked here serves by the same code, and its jobs leave out the figures of their reports, which take
longer than the runs. `tests/cli/test_strangers_runs.py`, and the races that tests start as
processes, start theirs as users do.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from typing import IO

from ravine.core.cores import THREAD_VARIABLES

FIGURES = ("timeline", "curves", "charts", "rates", "scales", "updates", "variance")
"""Figures of the report of a run."""

# Takes pairs of pipes, environments and folders; answers with the process id of a fork server.
_SOURCE = """
import json, os, signal, socket, sys, traceback
from importlib import import_module
from ravine.reports import evaluation_page, page
from ravine.workflows.race_worker import fork_server

os.fsync = lambda _: None  # this and the figures: as in tests/conftest.py
for module in fork_server._SHARED:
    import_module(module)
page._drawings = lambda _: dict.fromkeys(sys.argv[2:])
evaluation_page.reliability = lambda _: ""
channel = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    text, pipes, _, _ = socket.recv_fds(channel, 1 << 20, 2)
    if not text:
        break
    pid = os.fork()
    if pid:
        channel.send(str(pid).encode())
        for pipe in pipes:
            os.close(pipe)
        continue
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        channel.close()
        os.setsid()
        for number, pipe in enumerate(pipes):
            os.dup2(pipe, number)
            os.close(pipe)
        environment, folder = json.loads(text)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        fork_server.serve()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)
"""


class ForkServers:
    """The process that has everything imported; it starts with the first fork server."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def spawn(self, threads: int) -> "Forked":
        """Returns a fork server whose jobs have so many threads each."""
        channel = self._start()
        requests, events = os.pipe(), os.pipe()
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        text = json.dumps([environment, os.getcwd()]).encode()
        socket.send_fds(channel, [text], [requests[0], events[1]])
        pid = int(channel.recv(64))
        os.close(requests[0])
        os.close(events[1])
        return Forked(pid, os.fdopen(requests[1], "wb"), os.fdopen(events[0], "rb"))

    def close(self) -> None:
        """Ends the process."""
        if self._channel is not None and self._process is not None:
            self._channel.close()
            self._process.wait(120)

    def _start(self) -> socket.socket:
        if self._channel is None:
            self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with other:
                command = [sys.executable, "-P", "-c", _SOURCE, str(other.fileno()), *FIGURES]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                self._process = subprocess.Popen(
                    command, pass_fds=[other.fileno()], env=environment, start_new_session=True
                )
        return self._channel


class Forked:
    """A fork server that another process has forked."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.stdin, self.stdout = stdin, stdout
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Returns 0 once it has ended."""
        ended, _, _ = select.select([self._descriptor], [], [], 0)
        return 0 if ended else None

    def wait(self, timeout: float | None = None) -> int:
        """Returns 0 when it has ended, as `Popen` does."""
        ended, _, _ = select.select([self._descriptor], [], [], timeout)
        if not ended:
            raise subprocess.TimeoutExpired("fork server", timeout or 0.0)
        return 0

    def kill(self) -> None:
        """Ends it at once."""
        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
