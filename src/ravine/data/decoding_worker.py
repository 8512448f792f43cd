"""`python -m ravine.data.decoding_worker FOLDER START STOP`: decodes a share of the files.

Started by `store`; loads no torch. Prints a JSON line now and then, the last with the result.
"""

import json
import sys
from pathlib import Path

from ravine.data.collection import FileEntry
from ravine.data.decoded_cache import Form, Shelf, decode_into


def main(folder: Path, start: int, stop: int) -> None:
    """Decodes files `start` to `stop` of the job in `folder` into its arrays."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    form = Form(image_size=job["size"], channels=job["channels"])
    files = [FileEntry.from_json(entry) for entry in job["files"]]
    shelf = Shelf(folder, len(files), form, new=False, images=job["images"])

    def tell(what: str, done: int, total: int) -> None:  # noqa: ARG001
        print(json.dumps({"done": done}), flush=True)

    unreadable, modes = decode_into(shelf, files, start, stop, tell)
    print(json.dumps({"unreadable": unreadable, "modes": modes}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
