"""Worker processes that decode images into memory shared with this process.

The shared memory is cut into slots of one image. A request names a number of images; it is cut
into chunks that go to the least busy workers as lines of JSON, and is finished when every chunk is
answered. No threads: answers are read when the pool is called.

Shape letters: S height and width, C channels.
"""

import contextlib
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
from ravine.core.lazy import lazy_module
from ravine.data.collection import FileEntry
from ravine.data.image_file import ImageFormat
from ravine.data.processes import start_worker
from ravine.data.streaming_worker import slots_in

fcntl = lazy_module("fcntl")  # Windows has none

_LARGEST_CHUNK = 16  # images
_PIPE = 1 << 20  # bytes of requests that a pipe takes before writing blocks


@dataclass(slots=True, eq=False)
class Request:
    """Images that were requested from a pool.

    Attributes:
        slots: slot of each image in the shared memory.
        open_chunks: chunks that are not answered yet.
        failed: the reasons of unreadable images, by slot.
        released: the images are not wanted any more; the slots are free once all chunks are
            answered.
    """

    slots: list[int]
    open_chunks: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    released: bool = False


class WorkerPool:
    """Worker processes that decode.

    Args:
        image_format: size and channels of the decoded images.
        slots: images that the shared memory holds.
        workers: processes.

    Attributes:
        pixels: the shared memory, (slots, S, S, C) uint8.

    Raises:
        DataError: the workers cannot be started.
    """

    def __init__(self, image_format: ImageFormat, *, slots: int, workers: int) -> None:
        size = slots * image_format.bytes_per_image
        self._processes: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _end, self._processes)
        handle = _shared_memory(size)
        try:
            self.pixels = slots_in(mmap.mmap(handle, size), slots, image_format)
            arguments = [json.dumps(one) for one in (handle, slots, image_format.to_json())]
            for _ in range(workers):
                self._processes.append(_start(handle, arguments))
        except OSError as error:
            raise _died(error.strerror) from None
        finally:
            os.close(handle)
        self._free = list(range(slots))
        self._chunks: dict[int, tuple[Request, int, int]] = {}  # request, worker, images
        self._sent = 0
        self._busy = [0] * workers
        self._partial_lines = [b""] * workers
        self._selector = selectors.DefaultSelector()
        for number, process in enumerate(self._processes):
            assert process.stdout is not None
            self._selector.register(process.stdout, selectors.EVENT_READ, number)

    @property
    def free_slots(self) -> int:
        """How many more images can be requested."""
        return len(self._free)

    def submit(self, files: Sequence[FileEntry | None]) -> Request:
        """Begins to decode at most `free_slots` files; None becomes a black image.

        Raises:
            DataError: a worker has died.
        """
        self._receive(0)
        slots = [self._free.pop() for _ in files]
        request = Request(slots)
        tasks = []
        for slot, entry in zip(slots, files, strict=True):
            if entry is None:
                self.pixels[slot] = 0
            else:
                tasks.append((slot, entry.to_json()))
        length = max(1, min(_LARGEST_CHUNK, len(tasks) // (2 * len(self._processes))))
        for start in range(0, len(tasks), length):
            self._send(request, tasks[start : start + length])
        return request

    def wait(self, request: Request) -> None:
        """Returns when all images of a request are decoded.

        Raises:
            DataError: a worker has died.
        """
        while request.open_chunks:
            self._receive(None)

    def release(self, request: Request) -> None:
        """Frees the slots of a request, at once or when it is finished."""
        request.released = True
        if not request.open_chunks:
            self._free += request.slots

    def wait_for_slots(self, count: int) -> None:
        """Returns when `count` slots are free, which released requests must hold.

        Raises:
            DataError: a worker has died.
        """
        while len(self._free) < count:
            self._receive(None)

    def _send(self, request: Request, tasks: Sequence[Any]) -> None:
        worker = min(range(len(self._busy)), key=self._busy.__getitem__)
        self._sent += 1
        self._chunks[self._sent] = request, worker, len(tasks)
        self._busy[worker] += len(tasks)
        request.open_chunks += 1
        stream = self._processes[worker].stdin
        assert stream is not None
        try:
            stream.write(json.dumps([self._sent, tasks]).encode() + b"\n")
            stream.flush()
        except OSError:
            raise _died() from None

    def _receive(self, seconds: float | None) -> None:
        """Reads the answers that arrive within `seconds`; None waits for one."""
        for key, _ in self._selector.select(seconds):
            worker = int(key.data)
            content = os.read(key.fd, _PIPE)
            if not content:
                raise _died()
            *lines, rest = (self._partial_lines[worker] + content).split(b"\n")
            self._partial_lines[worker] = rest
            for line in lines:
                number, failed = json.loads(line)
                self._close_chunk(number, {int(slot): why for slot, why in failed.items()})

    def _close_chunk(self, number: int, failed: dict[int, str]) -> None:
        request, worker, images = self._chunks.pop(number)
        self._busy[worker] -= images
        request.failed |= failed
        request.open_chunks -= 1
        if request.released and not request.open_chunks:
            self._free += request.slots


def _start(handle: int, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    process = start_worker(
        "ravine.data.streaming_worker",
        arguments,
        stdin=subprocess.PIPE,
        pass_fds=[handle],
    )
    if sys.platform == "linux":
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # the user's pipes may be limited
            fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, _PIPE)
    return process


def _shared_memory(size: int) -> int:
    """Returns a handle of `size` bytes of memory without a name, freed with its last user."""
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
