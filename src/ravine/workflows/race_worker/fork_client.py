"""The controller's end of the fork server: starts it, sends requests, receives events."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Protocol, final

from ravine.core.cores import THREAD_VARIABLES
from ravine.workflows.race_worker.messages import ForkEvent, ForkRequest, fork_event_from_json


class ServerProcess(Protocol):
    """A running fork server; `subprocess.Popen` is one."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """The requests."""
        ...

    @property
    def stdout(self) -> IO[bytes] | None:
        """The events."""
        ...

    def poll(self) -> int | None:
        """Returns the exit code; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit code, when it has ended."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


def spawn_server(threads: int) -> ServerProcess:
    """Starts a fork server whose jobs have so many threads each."""
    # A session of its own: Ctrl-C is for the race, which then asks its jobs to leave.
    return subprocess.Popen(
        # -P: the working folder, which may be a stranger's, is not searched for modules.
        [sys.executable, "-P", "-m", "ravine.workflows.race_worker.fork_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
        start_new_session=True,
    )


@final
@dataclass(slots=True)
class ForkClient:
    """A fork server whose jobs have `threads` threads each; it starts with the first request."""

    threads: int
    spawn: Callable[[int], ServerProcess] = spawn_server
    _process: ServerProcess | None = None
    _rest: bytes = b""

    def start(self) -> ServerProcess:
        """Returns the fork server, which is started if none runs."""
        if self._process is None:
            self._process = self.spawn(self.threads)
            assert self._process.stdout is not None
            os.set_blocking(self._process.stdout.fileno(), False)
        return self._process

    def send(self, request: ForkRequest) -> None:
        """Sends one request."""
        process = self.start()
        assert process.stdin is not None
        process.stdin.write(request.to_json().encode() + b"\n")
        process.stdin.flush()

    def events(self) -> list[ForkEvent]:
        """Returns the events that have arrived, without waiting.

        Raises:
            RuntimeError: the fork server has ended.
            ValueError: a line is no event.
        """
        process = self.start()
        assert process.stdout is not None
        read = process.stdout.read()
        if not read:
            if process.poll() is not None:
                raise RuntimeError(f"the fork server ended with code {process.poll()}")
            return []
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [fork_event_from_json(line) for line in lines]

    def close(self, *, grace: float) -> bool:
        """Ends the input, so that jobs save and leave; returns whether they did in `grace` s."""
        process = self._process
        if process is None:
            return True
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            return False
        self._forget()
        return True

    def kill(self) -> None:
        """Ends the fork server itself at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def _forget(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
