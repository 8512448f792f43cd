"""100,000 images of 2,000 classes: memory and files of `ravine predict` and `ravine evaluate`.

    python bench/many_classes.py [--images 100000] [--classes 2000]

A network is trained for a few steps on two small images of each class; the images that it then
predicts are hard links to these. Peak memory is the largest resident set of the command and of any
process that it starts, and of all together, sampled ten times a second beside the kernel's own
figure for the command.
The table has to grow while the command runs, each row's shares have to sum to 1, and the rows have
to be all images, each once.
"""

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from process_family import family
from results import keep

RAVINE = [sys.executable, "-W", "ignore", "-m", "ravine"]
_PER_CLASS = 2


def paint(place: Path, classes: int) -> list[Path]:
    """Writes small images into class folders and returns their paths."""
    chance = np.random.default_rng(0)
    paths = []
    for number in range(classes * _PER_CLASS):
        folder = place / f"class-{number % classes:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        paths.append(folder / f"{number}.png")
        Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(paths[-1])
    return paths


def link(paths: list[Path], place: Path, images: int) -> None:
    """Makes hard links to the images, a thousand in a folder."""
    for number in range(images):
        folder = place / f"{number // 1000:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(paths[number % len(paths)], folder / f"{number:06d}.png")


def watched(words: list[str], place: Path, grows: Path | None = None) -> dict[str, Any]:
    """Runs a command and returns its seconds, peak memory, and sizes of a file along the way."""
    began, peak, together, sizes = time.monotonic(), 0, 0, []
    process = subprocess.Popen([*RAVINE, *words], cwd=place, stdout=subprocess.DEVNULL)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        resident = [_resident(one) for one in family(process.pid)]
        peak, together = max(peak, *resident), max(together, sum(resident))
        if grows is not None and (size := _written(grows)):
            sizes.append(size)
        time.sleep(0.1)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"exit code {code}: {words}")
    row: dict[str, Any] = {
        "seconds": round(time.monotonic() - began, 1),
        "processor seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak memory of a process, MB": round(max(peak, 1024 * usage.ru_maxrss) / 1e6),
        "peak memory of all processes, MB": round(max(together, 1024 * usage.ru_maxrss) / 1e6),
    }
    if sizes:
        row["sizes of the table seen on the way"] = len(set(sizes))
        row["first size seen, of the whole"] = round(sizes[0] / grows.stat().st_size, 4)
    return row


def _resident(pid: int) -> int:
    """Returns the bytes that a process has in memory; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _written(table: Path) -> int:
    """Returns the size of a table, or of the part of it that is being written."""
    for path in [table, *table.parent.glob(f".{table.name}.*")]:
        if path.is_file():
            return path.stat().st_size
    return 0


def checked(table: Path, images: int, classes: int) -> int:
    """Returns the rows of a table of predictions, each with shares that sum to 1."""
    names = set()
    with table.open(newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        if len(header) != 3 + classes:
            raise SystemExit(f"{len(header)} columns for {classes} classes")
        for row in rows:
            names.add(row[0])
            if len(names) % 1000 == 1 and abs(sum(map(float, row[3:])) - 1) > 1e-3:
                raise SystemExit(f"{row[0]}: the shares do not sum to 1")
    if len(names) != images:
        raise SystemExit(f"{len(names)} rows of {images} images")
    return len(names)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=2_000)
    parser.add_argument("--no-keep", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ravine-many-") as scratch:
        place = Path(scratch)
        os.environ |= {"RAVINE_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
        paths = paint(place / "tree", chosen.classes)
        link(paths, place / "images", chosen.images)
        train = ["train", "tree", "--out", "run", "--model", "wrn-10-1", "--epochs", "0.1"]
        train += ["--batch", "100", "--threads", "1", "--convolution", "guess", "--quiet"]
        trained = watched([*train, "--validation", "0.4"], place)
        table = place / "predictions.csv"
        predict = ["predict", "run", "images", "--out", table.name, "--quiet"]
        figures: dict[str, Any] = {
            "train": trained,
            "evaluation.json of the run, MB": _megabytes(place / "run" / "evaluation.json"),
            "predict": watched(predict, place, table),
            "rows": checked(table, chosen.images, chosen.classes),
            "table, MB": _megabytes(table),
        }
        evaluate = ["evaluate", "run", "tree", "--out", "evaluated", "--quiet"]
        figures["evaluate"] = watched(evaluate, place)
        kept = place / "evaluated" / "evaluation.json"
        figures["evaluation.json of evaluate, MB"] = _megabytes(kept)
    if chosen.no_keep:
        print(figures)
        return
    words = f"--images {chosen.images} --classes {chosen.classes}"
    keep("many-classes", f"python bench/many_classes.py {words}", figures)


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 2)


if __name__ == "__main__":
    main()
