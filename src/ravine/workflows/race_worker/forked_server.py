"""A fork server that is a fork of this process: what is loaded here is not loaded again."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO, Self, final

from ravine.workflows.race_worker.fork_server import serve

_POLL_SECONDS = 0.01


@final
@dataclass(slots=True, kw_only=True)
class ForkedServer:
    """A forked process with the part of `subprocess.Popen` that the fork client uses.

    Attributes:
        pid: of the process.
        stdin: its standard input.
        stdout: its standard output.
        returncode: how it ended; None while it runs.
    """

    pid: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    returncode: int | None = None

    @classmethod
    def start(cls) -> Self:
        """Forks the server; this process must not have threads."""
        requests, events = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            _become_server(requests, events)
        os.close(requests[0])
        os.close(events[1])
        return cls(pid=pid, stdin=os.fdopen(requests[1], "wb"), stdout=os.fdopen(events[0], "rb"))

    def poll(self) -> int | None:
        """Returns the exit code; None while the process runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit code.

        Raises:
            subprocess.TimeoutExpired: the process runs after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("fork server", timeout or 0.0)
            time.sleep(_POLL_SECONDS)
        return code

    def kill(self) -> None:
        """Ends the process at once."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _become_server(requests: tuple[int, int], events: tuple[int, int]) -> None:
    """Serves on the two pipes as standard input and output; never returns."""
    code = 1
    try:
        os.setsid()
        os.dup2(requests[0], 0)
        os.dup2(events[1], 1)
        for descriptor in (*requests, *events):
            os.close(descriptor)
        serve()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
