"""Auditing, decoding and caching a folder of JPEG files, and peak memory by epochs.

python bench/data.py CIFAR10_JPEG.tar.gz
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from results import keep

from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings


def seconds_to_open(folder: Path) -> float:
    start = time.perf_counter()
    open_dataset(DataSettings(data=str(folder)), seed=0)
    return time.perf_counter() - start


def peak_megabytes(epochs: float) -> float:
    """Returns the peak memory of a training run in a process of its own."""
    code = (
        "import resource, sys, tempfile, ravine\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    run = folder + '/run'\n"
        "    ravine.train('@fashion', out=run, model='wrn-10-1', epochs=float(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    command = [sys.executable, "-c", code, str(epochs)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    archive = parser.parse_args().archive
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as file:
            file.extractall(Path(folder) / "images", filter="data")
        os.environ["RAVINE_CACHE"] = str(Path(folder) / "cache")
        first = seconds_to_open(Path(folder) / "images")
        later = sorted(seconds_to_open(Path(folder) / "images") for _ in range(5))
    memory = {epochs: peak_megabytes(epochs) for epochs in (1, 4)}
    keep(
        "data",
        "python bench/data.py cifar10-jpeg.tar.gz",
        {
            "60,000 JPEG files audited, decoded and cached, s": round(first, 2),
            "ready after that, s (median of 5)": round(later[2], 3),
            "peak memory of 1 epoch, MB": round(memory[1]),
            "peak memory of 4 epochs, MB": round(memory[4]),
        },
    )


if __name__ == "__main__":
    main()
