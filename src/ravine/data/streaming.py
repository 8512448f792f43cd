"""Images that are decoded when they are asked for, by processes that are told what comes next.

`StreamedImages` looks like an array of all images. The order of training is a pure function of
the seed, so `LookAhead` can name the next batches before they are wanted; what was not named is
decoded at once, so that the result never depends on what was.

Shape letters: N images, S height and width, C channels.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import FileEntry
from ravine.data.dataset import ImageArray
from ravine.data.decode import Unreadable
from ravine.data.decoded_cache import Form
from ravine.data.processes import cores
from ravine.data.streaming_worker import decode_again
from ravine.data.worker_pool import Crew, Order

_MEMORY = 1 << 28  # bytes of decoded images that wait to be used
_FEWEST_SLOTS = 16
_BATCHES_AHEAD = 4
_IMAGES_AHEAD = 32  # for each process, where batches are small


class StreamedImages:
    """Images (N, S, S, C) uint8, decoded when they are asked for.

    Args:
        files: of the N images.
        form: size and channels.
        unreadable: places of files that were no images when they were first read; these are black.
        workers: processes that decode, 0 for none; None for one fewer than cores.
    """

    def __init__(
        self,
        files: Sequence[FileEntry],
        form: Form,
        *,
        unreadable: Iterable[int] = (),
        workers: int | None = None,
    ) -> None:
        self.shape = (len(files), form.image_size, form.image_size, form.channels)
        self.dtype = np.dtype(np.uint8)
        self._files = files
        self._form = form
        self._unreadable = frozenset(unreadable)
        self._workers = max(1, cores() - 1) if workers is None else workers
        self._slots = max(_FEWEST_SLOTS, _MEMORY // (form.image_size**2 * form.channels))
        self._crew: Crew | None = None
        self._expected: dict[bytes, Order] = {}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, which: Any) -> np.ndarray:
        """Returns one image (S, S, C), or for indices (B,) as many, (B, S, S, C) uint8.

        Raises:
            DataError: an image cannot be read any more, or a process that decodes died.
        """
        index = _index(which, len(self))
        if index.ndim == 0:
            return self[index[None]][0]
        taken = self._decoded if self._workers else self._decoded_here
        most = self._slots // 2
        if len(index) <= most:
            return taken(index)
        return np.concatenate([taken(index[k : k + most]) for k in range(0, len(index), most)])

    def subset(self, index: np.ndarray) -> "StreamedImages":
        """Returns these images alone."""
        return StreamedImages(
            [self._files[int(i)] for i in index],
            self._form,
            unreadable=[k for k, i in enumerate(index) if int(i) in self._unreadable],
            workers=self._workers,
        )

    def ahead(self, batch: int) -> int:
        """Returns how many batches of this size are worth expecting beyond the next."""
        wanted = max(_BATCHES_AHEAD, -(-_IMAGES_AHEAD * self._workers // batch))
        return min(wanted, self._slots // 2 // batch - 1) if self._workers else -1

    def expect(self, index: np.ndarray) -> bool:
        """Begins to decode what will be asked for; returns whether there was room for it.

        What was expected longest ago and not asked for makes room.

        Raises:
            DataError: a process that decodes died.
        """
        if not self._workers or len(index) > self._slots // 2:
            return False
        key = _key(index)
        if key not in self._expected:
            crew = self._working()
            while crew.free < len(index) and self._expected:
                crew.release(self._expected.pop(next(iter(self._expected))))
            if crew.free < len(index):
                return False
            self._expected[key] = crew.order(self._entries(index))
        return True

    def _decoded(self, index: np.ndarray) -> np.ndarray:
        crew = self._working()
        order = self._expected.pop(_key(index), None)
        if order is None:
            while not self.expect(index):
                crew.wait_for_room(len(index))
            order = self._expected.pop(_key(index))
        try:
            crew.finish(order)
            if order.failed:
                slot, reason = next(iter(order.failed.items()))
                raise _lost(self._files[int(index[order.slots.index(slot)])], reason)
            return crew.pixels[order.slots]
        finally:
            crew.release(order)

    def _decoded_here(self, index: np.ndarray) -> np.ndarray:
        found = np.zeros((len(index), *self.shape[1:]), np.uint8)
        for place, entry in enumerate(self._entries(index)):
            if entry is not None:
                try:
                    found[place] = decode_again(entry, self._form)
                except Unreadable as reason:
                    raise _lost(entry, str(reason)) from None
        return found

    def _entries(self, index: np.ndarray) -> list[FileEntry | None]:
        return [None if int(i) in self._unreadable else self._files[int(i)] for i in index]

    def _working(self) -> Crew:
        if self._crew is None:
            self._crew = Crew(self._form, slots=self._slots, workers=self._workers)
        return self._crew


def _index(which: Any, count: int) -> np.ndarray:
    """Returns the places that numpy would take from an array of `count`."""
    if isinstance(which, slice):
        return np.arange(*which.indices(count))
    index = np.asarray(which)
    if index.dtype == np.bool_:
        index = np.flatnonzero(index)
    if index.size and not -count <= index.min() <= index.max() < count:
        raise IndexError(f"there are {count} images")
    return index % max(1, count)


def _key(index: np.ndarray) -> bytes:
    return np.ascontiguousarray(index, np.int64).tobytes()


def _lost(entry: FileEntry, reason: str) -> DataError:
    where = "" if entry.offset is None else f", the image at byte {entry.offset:,}"
    return DataError(
        f"{entry.path}{where}: {reason}, though it could be read before; put it back as it was, "
        "or begin a new run"
    )


class LookAhead:
    """Gives the images of steps one after the other, and tells streamed images what comes next."""

    def __init__(self, images: ImageArray) -> None:
        self._images = images
        self._next = self._told = 0

    def images_at(self, step: int, index_at: Callable[[int], np.ndarray]) -> np.ndarray:
        """Returns the images of a step, (B, S, S, C) uint8.

        Args:
            step: counted from 0.
            index_at: returns which images a step takes; none where there is no such step.
        """
        index = index_at(step)
        if isinstance(self._images, StreamedImages):
            self._tell(self._images, step, len(index), index_at)
        return self._images[index]

    def _tell(
        self,
        images: StreamedImages,
        step: int,
        batch: int,
        index_at: Callable[[int], np.ndarray],
    ) -> None:
        self._told = max(self._told, step) if step == self._next else step
        self._next = step + 1
        while self._told <= step + images.ahead(batch):
            index = index_at(self._told)
            if not len(index) or not images.expect(index):
                break
            self._told += 1
