"""Ctrl-C and SIGTERM: the run stops after the step that it is in, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


class Interrupted(Exception):
    """The run got a stop signal; its checkpoint is saved."""

    def __init__(self, signal_number: int, path: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}, checkpoint {path}")
        self.signal_number = signal_number
        self.path = path.parent.parent


@dataclass(slots=True)
class StopRequest:
    """The stop signal that arrived, if any."""

    signal_number: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns the first Ctrl-C or SIGTERM into a request; a second one stops at once.

    Outside the main thread, where signals cannot be caught, nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request_stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        request.signal_number = number
        for caught, handler in before.items():
            signal.signal(caught, handler)

    for number in before:
        signal.signal(number, request_stop)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
