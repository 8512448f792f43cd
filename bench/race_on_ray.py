"""A race of short trials on a local Ray cluster against the same race without.

    python bench/race_on_ray.py [--rounds 3] [--trials 4] [--epochs 20] [--jobs 2]

The two take turns, each in a fresh process; the figure is the ratio of the medians. A head with as
many cores as there are jobs is started before and stands ready, as a cluster does. Ray's workers
are given the priority of the local jobs (Ray's default is niceness 15, so that on a busy machine
others would come first). All weights have to be equal bit for bit. Needs `pip install ravine[ray]`.
"""

import argparse
import contextlib
import hashlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from results import keep

RACE = [
    "--model", "wrn-10-1", "--optimizers", "momentum,adam", "--seeds", "1", "--batch", "16",
    "--threads", "1", "--no-early", "--convolution", "guess", "--quiet",
]  # fmt: skip


@contextlib.contextmanager
def head(cores: int, home: Path) -> Iterator[str]:
    """Yields the address of a head that is stopped at the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    words += ["--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", str(cores)]
    words += ["--include-dashboard", "false", "--disable-usage-stats"]
    environment = {**os.environ, "HOME": str(home), "RAY_worker_niceness": "0"}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment)
    try:
        address = f"127.0.0.1:{port}"
        asked = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
        # The port answers before the workers of a busy machine do.
        while subprocess.run(asked, capture_output=True, check=False).returncode:
            time.sleep(1.0)
        yield address
    finally:
        process.terminate()
        process.wait()


def write_images(path: Path) -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(480) % 2
    images = chance.integers(0, 200, (480, 8, 8, 1), dtype=np.uint8)
    images[labels == 1, ::2] += 40
    np.savez(path, images=images, labels=labels)


def timed(words: list[str], out: Path, environment: dict[str, str]) -> float:
    """Returns the seconds of a race from start to end of its process."""
    command = [sys.executable, "-W", "ignore", "-m", "ravine", "race", *words, "--out", str(out)]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.monotonic() - began


def weights(race: Path) -> dict[str, str]:
    paths = sorted((race / "runs").glob("*/model.safetensors"))
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", default="4")
    parser.add_argument("--epochs", default="20")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, head(chosen.jobs, Path(folder)) as address:
        place = Path(folder)
        environment = {**os.environ, "HOME": folder, "RAVINE_CACHE": str(place / "cache")}
        write_images(place / "stripes.npz")
        words = [str(place / "stripes.npz"), *RACE, "--trials", chosen.trials]
        words += ["--epochs", chosen.epochs]
        ways = {"local": ["--jobs", str(chosen.jobs)], "ray": ["--ray", address]}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(chosen.rounds):
            for way, where in ways.items():
                out = place / f"{way}-{number}"
                seconds[way].append(round(timed([*words, *where], out, environment), 2))
        medians = {way: statistics.median(found) for way, found in seconds.items()}
        first = weights(place / "local-0")
        others = [weights(place / f"{way}-{n}") for way in ways for n in range(chosen.rounds)]
        figures = {
            "jobs": len(first),
            "seconds": seconds,
            "ratio": round(medians["ray"] / medians["local"], 3),
            "weights equal bit for bit": bool(first) and all(first == found for found in others),
        }
    keep("race-on-ray", "python bench/race_on_ray.py " + " ".join(sys.argv[1:]), figures)


if __name__ == "__main__":
    main()
