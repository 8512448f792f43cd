"""`python -m ravine.data.streaming_worker HANDLE SLOTS SIZE CHANNELS`: decodes what it is told to.

Started by `crew`; loads no torch. A line on its input is [number, [[slot, file], …]]; each image is
written into its slot of the shared memory HANDLE, and the answer is [number, {slot: reason}] with
what could not be read. It ends with its input, and so with the process that started it.
"""

import json
import mmap
import os
import sys

import numpy as np

from ravine.data.collection import FileEntry
from ravine.data.decode import Unreadable, fit_square
from ravine.data.decoded_cache import Form, decode_file


def decode_again(entry: FileEntry, form: Form) -> np.ndarray:
    """Returns the image of a file that was read before, (S, S, C) uint8.

    Raises:
        Unreadable: it cannot be read any more, or the file has been changed since.
    """
    decoded = decode_file(entry, form)
    try:
        facts = os.stat(entry.path)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    if (facts.st_size, facts.st_mtime_ns) != (entry.size, entry.modified):
        raise Unreadable("the file has been changed")
    return fit_square(decoded.pixels, form.image_size)


def slots_in(memory: mmap.mmap, slots: int, form: Form) -> np.ndarray:
    """Returns shared memory as images, (slots, S, S, C) uint8."""
    flat = np.frombuffer(memory, np.uint8)
    return flat.reshape(slots, form.image_size, form.image_size, form.channels)


def main(handle: int, slots: int, form: Form) -> None:
    """Decodes until the input ends."""
    memory = mmap.mmap(handle, slots * form.image_size**2 * form.channels)
    pixels = slots_in(memory, slots, form)
    for line in sys.stdin.buffer:
        number, tasks = json.loads(line)
        failed = {}
        for slot, entry in tasks:
            try:
                pixels[slot] = decode_again(FileEntry.from_json(entry), form)
            except Unreadable as reason:
                failed[slot] = str(reason)
        try:
            os.write(sys.stdout.fileno(), json.dumps([number, failed]).encode() + b"\n")
        except BrokenPipeError:
            return


if __name__ == "__main__":
    _handle, _slots, _size, _channels = map(int, sys.argv[1:])
    main(_handle, _slots, Form(image_size=_size, channels=_channels))
