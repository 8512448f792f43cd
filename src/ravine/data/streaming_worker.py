"""`python -m ravine.data.streaming_worker HANDLE SLOTS FORMAT`: decodes on request.

Started by `worker_pool`; loads no torch. A line of input is [number, [[slot, file], …]]; each image
is written into its slot of the shared memory HANDLE, and the answer is [number, {slot: reason}]
with the unreadable ones. The worker ends with its input, and so with the process that started it.

Shape letters: S height and width, C channels.
"""

import json
import mmap
import os
import sys

import numpy as np

from ravine.data.collection import FileEntry
from ravine.data.decode import Unreadable
from ravine.data.image_file import ImageFormat, decode_file


def decode_again(entry: FileEntry, image_format: ImageFormat) -> np.ndarray:
    """Returns the image of a file that was read before, (S, S, C) uint8.

    Raises:
        Unreadable: it cannot be read any more, or the file has been changed since.
    """
    decoded = decode_file(entry, image_format)
    try:
        facts = os.stat(entry.path)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    if (facts.st_size, facts.st_mtime_ns) != (entry.size, entry.modified):
        raise Unreadable("the file has been changed")
    return image_format.square(decoded.pixels)


def slots_in(memory: mmap.mmap, slots: int, image_format: ImageFormat) -> np.ndarray:
    """Returns shared memory as images, (slots, S, S, C) uint8."""
    flat = np.frombuffer(memory, np.uint8)
    size = image_format.image_size
    return flat.reshape(slots, size, size, image_format.channels)


def main(handle: int, slots: int, image_format: ImageFormat) -> None:
    """Decodes until the input ends."""
    memory = mmap.mmap(handle, slots * image_format.bytes_per_image)
    pixels = slots_in(memory, slots, image_format)
    for line in sys.stdin.buffer:
        number, tasks = json.loads(line)
        failed = {}
        for slot, entry in tasks:
            try:
                pixels[slot] = decode_again(FileEntry.from_json(entry), image_format)
            except Unreadable as reason:
                failed[slot] = str(reason)
        try:
            os.write(sys.stdout.fileno(), json.dumps([number, failed]).encode() + b"\n")
        except BrokenPipeError:
            return


if __name__ == "__main__":
    _handle, _slots, _format = map(json.loads, sys.argv[1:])
    main(_handle, _slots, ImageFormat(**_format))
