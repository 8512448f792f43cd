"""Finding and reading data: how soon `ravine data` answers, what a large npz, a parquet and a wide
table cost.

    python bench/layouts.py FOLDER_OF_JPEG [--before SRC]

FOLDER_OF_JPEG has class folders, such as CIFAR-10 as JPEG (`data.py` unpacks it). The cache of
these images is built from the folder, a tar and a parquet of the same files in turn, in processor
seconds of the process and its decoders; with `--before` also by the package of another commit,
whose `src` is named, run by BASE_PYTHON with the packages in BASE_PACKAGES. `--parts` runs some of
the four.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from results import keep, kept

FILES, CLASSES = 100_000, 2_000
ROUNDS = 3
PARTS = ("first-answer", "npz", "cache", "table")
OPEN = (
    "import sys; from ravine.data.opening import open_dataset\n"
    "from ravine.data.settings import DataSettings\n"
    "found = open_dataset(DataSettings(data=sys.argv[1]), seed=0)\n"
    "print(len(found.names))\n"
)


def png(seed: int) -> bytes:
    """Returns a picture of 8×8, another for each seed."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def processor_seconds(process: int) -> float:
    """Returns what a running process has taken of the processor until now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_answer(place: Path) -> dict[str, Any]:
    """Returns seconds of `ravine data` to its first line, and from there to one of progress."""
    for number in range(FILES):
        folder = place / f"tree/class-{number % CLASSES:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06d}.png").write_bytes(png(number))
    answers, processor, gaps = [], [], []
    for _ in range(ROUNDS):
        start = time.monotonic()
        command = [sys.executable, "-m", "ravine", "data", str(place / "tree"), "--no-sheet"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout is not None
            assert run.stderr is not None
            assert run.stdout.readline().startswith("read as folders")
            answers.append(time.monotonic() - start)
            processor.append(processor_seconds(run.pid))
            assert "of 100,000" in run.stderr.readline()
            gaps.append(time.monotonic() - start - answers[-1])
            run.kill()
    return {
        f"first line of {FILES:,} files in {CLASSES:,} classes, processor s": min(processor),
        "first line, processor s (each)": processor,
        "first line, s (each)": answers,
        "progress after that, s (each)": gaps,
    }


def child(code: str, *arguments: str, source: Path | None = None) -> tuple[float, float]:
    """Returns processor seconds and peak MB of a program in a process of its own.

    Args:
        code: of the program.
        arguments: to it.
        source: of the package, if not this one; an editable installation would find its own first,
            so that it runs by BASE_PYTHON.
    """
    measured = (
        "import resource, sys\n"
        f"{code}"
        "own, below = (resource.getrusage(who) for who in (0, resource.RUSAGE_CHILDREN))\n"
        "seconds = sum(u.ru_utime + u.ru_stime for u in (own, below))\n"
        "print(seconds, own.ru_maxrss / 1024, file=sys.stderr)\n"
    )
    python, environment = sys.executable, dict(os.environ)
    if source is not None:
        python = os.environ["BASE_PYTHON"]
        environment["PYTHONPATH"] = os.pathsep.join([str(source), environment["BASE_PACKAGES"]])
    command = [python, "-c", measured, *arguments]
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stderr
    seconds, peak = said.strip().splitlines()[-1].split()
    return float(seconds), float(peak)


def npz(place: Path) -> dict[str, float]:
    """Returns the peak memory that a npz of 1 GB of images takes."""
    count = 1_040_000_000 // (64 * 64 * 3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 64, 64, 3), np.uint8)
    np.savez(place / "large.npz", images=images, labels=np.arange(count) % 10)
    del images
    os.environ["RAVINE_CACHE"] = str(place / "npz-cache")
    first, later = (child(OPEN, str(place / "large.npz")) for _ in range(2))
    return {
        "npz, MB": (place / "large.npz").stat().st_size / 1e6,
        "peak of reading it first, MB": first[1],
        "peak of reading it again, MB": later[1],
    }


def pack(folder: Path, place: Path) -> dict[str, Path]:
    """Returns the same files as a folder, a tar and a parquet."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with tarfile.open(place / "images.tar", "w") as tar:
        for path in files:
            tar.add(path, arcname=str(path.relative_to(folder)))
    (place / "parquet").mkdir()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for split in sorted({path.relative_to(folder).parts[0] for path in files}):
        own = [path for path in files if path.relative_to(folder).parts[0] == split]
        rows = [{"bytes": path.read_bytes(), "path": path.name} for path in own]
        table = pa.table(
            {"image": pa.array(rows, image), "label": [path.parent.name for path in own]}
        )
        pq.write_table(table, place / f"parquet/{split}-00000-of-00001.parquet")
    return {"folder": folder, "tar": place / "images.tar", "parquet": place / "parquet"}


def cache(folder: Path, place: Path, before: Path | None) -> dict[str, Any]:
    """Returns processor seconds of building the cache, from each form in turn."""
    forms = pack(folder, place)
    rivals = [(name, path, None) for name, path in forms.items()]
    if before is not None:
        rivals.append(("folder, before", folder, before))
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in rivals}
    for turn in range(ROUNDS):
        for name, path, source in rivals:
            os.environ["RAVINE_CACHE"] = str(place / f"cache-{turn}-{name}")
            seconds[name].append(child(OPEN, str(path), source=source)[0])
    least = {name: min(values) for name, values in seconds.items()}
    shares = {
        f"{name} ÷ folder": least[name] / least["folder"] for name in seconds if name != "folder"
    }
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {"cache, processor s (median)": median, "cache, all": seconds, **shares}


def table(place: Path) -> dict[str, float]:
    """Returns processor seconds of a table of pixels by its rows: linear, if their ratio is 10."""
    header = ",".join(["label", *(f"pixel{n}" for n in range(784))])
    row = ",".join(map(str, np.random.default_rng(0).integers(0, 256, 784)))
    found = {}
    for rows in (4_200, 42_000):
        lines = [header, *(f"{n % 10},{row}" for n in range(rows))]
        (place / f"{rows}.csv").write_text("\n".join(lines))
        os.environ["RAVINE_CACHE"] = str(place / f"cache-{rows}")
        code = OPEN.replace("open_dataset(", "find_collection(").replace(", seed=0", "")
        code = code.replace("ravine.data.opening", "ravine.data.discovery")
        code = code.replace("open_dataset", "find_collection")
        found[f"table of 785 columns and {rows:,} rows, s"] = min(
            child(code, str(place / f"{rows}.csv"))[0] for _ in range(ROUNDS)
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    chosen = parser.parse_args()
    measures: dict[str, Callable[[Path], dict[str, Any]]] = {
        "first-answer": first_answer,
        "npz": npz,
        "cache": lambda place: cache(chosen.folder.resolve(), place, chosen.before),
        "table": table,
    }
    figures = kept("layouts")
    for part in chosen.parts:
        with tempfile.TemporaryDirectory() as place:
            os.environ["RAVINE_CACHE"] = f"{place}/own-cache"
            figures[part] = measures[part](Path(place))
            figures[part]["load beside (1 min)"] = os.getloadavg()[0]
        keep("layouts", "python bench/layouts.py FOLDER_OF_JPEG", figures)


if __name__ == "__main__":
    main()
