"""`python -m ravine.data.decoding_worker FOLDER START STOP`: decodes a range of the files.

Started by `cache_writer`; loads no torch. Prints JSON lines: progress, and at last the result.
"""

import json
import sys
from pathlib import Path

from ravine.data.cache_writer import CacheWriter, decode_into
from ravine.data.collection import FileEntry
from ravine.data.image_file import ImageFormat


def main(folder: Path, start: int, stop: int) -> None:
    """Decodes files `start` to `stop` of the job in `folder` into its arrays."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    image_format = ImageFormat(**job["format"])
    files = [FileEntry.from_json(entry) for entry in job["files"]]
    writer = CacheWriter(folder, len(files), image_format, new=False, images=job["images"])

    def report(what: str, done: int, total: int) -> None:  # noqa: ARG001
        print(json.dumps({"done": done}), flush=True)

    unreadable, modes = decode_into(writer, files, start, stop, report)
    print(json.dumps({"unreadable": unreadable, "modes": modes}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
