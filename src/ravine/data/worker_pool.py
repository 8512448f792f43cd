"""Processes that stay, and decode images into memory that they share with this one.

The memory is cut into slots of one image. An order is a number of images; it is cut into pieces
that go to the processes with least to do, as lines of JSON, and is finished when every piece is
answered. Nothing here runs in a thread: answers are read when somebody asks.
"""

import contextlib
import fcntl
import json
import mmap
import os
import selectors
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ravine.core.errors import DataError
from ravine.data.collection import FileEntry
from ravine.data.decoded_cache import Form
from ravine.data.processes import start_worker
from ravine.data.streaming_worker import slots_in

_LONGEST_PIECE = 16  # images
_PIPE = 1 << 20  # bytes that orders may take before writing them waits


@dataclass(slots=True, eq=False)
class Order:
    """Images that were ordered.

    Attributes:
        slots: where each of them will be.
        pieces: how many pieces are not answered yet.
        failed: the reason of what could not be read, by slot.
        dropped: nobody wants them any more; the slots are free when all pieces are answered.
    """

    slots: list[int]
    pieces: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    dropped: bool = False


class Crew:
    """Processes that decode.

    Args:
        form: what images are decoded to.
        slots: images that the shared memory holds.
        workers: processes.
    """

    def __init__(self, form: Form, *, slots: int, workers: int) -> None:
        size = slots * form.image_size**2 * form.channels
        self._processes: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _end, self._processes)
        handle = _shared(size)
        try:
            self.pixels = slots_in(mmap.mmap(handle, size), slots, form)
            numbers = [handle, slots, form.image_size, form.channels]
            for _ in range(workers):
                self._processes.append(_start(numbers))
        except OSError as error:
            raise _died(error.strerror) from None
        finally:
            os.close(handle)
        self._free = list(range(slots))
        self._pieces: dict[int, tuple[Order, int, int]] = {}  # order, worker, images
        self._sent = 0
        self._busy = [0] * workers
        self._unread = [b""] * workers
        self._selector = selectors.DefaultSelector()
        for number, process in enumerate(self._processes):
            assert process.stdout is not None
            self._selector.register(process.stdout, selectors.EVENT_READ, number)

    @property
    def free(self) -> int:
        """How many more images can be ordered."""
        return len(self._free)

    def order(self, files: Sequence[FileEntry | None]) -> Order:
        """Begins to decode as many files as there are free slots, or fewer; None becomes black.

        Raises:
            DataError: a process has died.
        """
        self._listen(0)
        slots = [self._free.pop() for _ in files]
        order = Order(slots)
        tasks = []
        for slot, entry in zip(slots, files, strict=True):
            if entry is None:
                self.pixels[slot] = 0
            else:
                tasks.append((slot, entry.to_json()))
        length = max(1, min(_LONGEST_PIECE, len(tasks) // (2 * len(self._processes))))
        for start in range(0, len(tasks), length):
            self._send(order, tasks[start : start + length])
        return order

    def finish(self, order: Order) -> None:
        """Returns when all images of an order are there.

        Raises:
            DataError: a process has died.
        """
        while order.pieces:
            self._listen(None)

    def release(self, order: Order) -> None:
        """Frees the slots of an order, at once or when it is finished."""
        order.dropped = True
        if not order.pieces:
            self._free += order.slots

    def wait_for_room(self, count: int) -> None:
        """Returns when `count` slots are free, which released orders must hold."""
        while len(self._free) < count:
            self._listen(None)

    def _send(self, order: Order, tasks: Sequence[Any]) -> None:
        worker = min(range(len(self._busy)), key=self._busy.__getitem__)
        self._sent += 1
        self._pieces[self._sent] = order, worker, len(tasks)
        self._busy[worker] += len(tasks)
        order.pieces += 1
        stream = self._processes[worker].stdin
        assert stream is not None
        try:
            stream.write(json.dumps([self._sent, tasks]).encode() + b"\n")
            stream.flush()
        except OSError:
            raise _died() from None

    def _listen(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            worker = int(key.data)
            content = os.read(key.fd, _PIPE)
            if not content:
                raise _died()
            *lines, self._unread[worker] = (self._unread[worker] + content).split(b"\n")
            for line in lines:
                number, failed = json.loads(line)
                self._answered(number, {int(slot): why for slot, why in failed.items()})

    def _answered(self, number: int, failed: dict[int, str]) -> None:
        order, worker, images = self._pieces.pop(number)
        self._busy[worker] -= images
        order.failed |= failed
        order.pieces -= 1
        if order.dropped and not order.pieces:
            self._free += order.slots


def _start(numbers: Sequence[int]) -> subprocess.Popen[bytes]:
    process = start_worker(
        "ravine.data.streaming_worker",
        [str(number) for number in numbers],
        stdin=subprocess.PIPE,
        pass_fds=[numbers[0]],
    )
    if sys.platform == "linux":
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # the user's pipes may be limited
            fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, _PIPE)
    return process


def _shared(size: int) -> int:
    """Returns a handle of memory without a name, which is gone with its last user."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("ravine-images")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return handle


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()


def _died(why: str | None = None) -> DataError:
    return DataError(
        f"a process that decodes images {f'cannot be started: {why}' if why else 'died'}; is the "
        "memory full? Fewer of them: --workers 1; or all images decoded before training: "
        "--stream off"
    )
