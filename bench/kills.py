"""Exact resume: random kills (SIGKILL) of a short run, resumed each time.

    python bench/kills.py [--kills 20]

One run is never killed. Each of the others is killed at a random instant, often enough during
a checkpoint's write since there is one after every step, and resumed to its end; its
model.safetensors has to be bitwise the same.
"""

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import keep

SETTINGS = [
    "--model",
    "wrn-10-1",
    "--epochs",
    "0.6",
    "--checkpoint-every",
    "0",
    "--quiet",
    "--seed",
    "3",
    "--dropout",
    "0.1",
]


def begin(out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ravine", "train", "@fashion", "--out", str(out), *SETTINGS]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def digest(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def kill_once(run: Path, rng: random.Random, seconds: float) -> int:
    """Returns how often the run was killed before it ended."""
    process = begin(run)
    kills = 0
    while True:
        try:
            process.wait(timeout=rng.uniform(0.3, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        if (run / "report.html").is_file():
            return kills
        if not (run / "recipe.toml").is_file():
            process = begin(run)
            continue
        command = [sys.executable, "-m", "ravine", "resume", str(run), "--quiet"]
        if kills:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return kills
        raise RuntimeError("the run ended without a report")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        start = time.monotonic()
        begin(whole).wait()
        seconds = time.monotonic() - start
        expected = digest(whole)
        same = done = 0
        while done < arguments.kills:
            run = Path(folder) / f"killed-{done}-{rng.random()}"
            kills = kill_once(run, rng, seconds)
            if kills:
                done += 1
                same += digest(run) == expected
                print(f"kill {done}: {'same' if digest(run) == expected else 'DIFFERENT'}")
    keep(
        "kills",
        f"python bench/kills.py --kills {arguments.kills}",
        {"runs killed": done, "bitwise equal": same, "seconds of a whole run": round(seconds, 1)},
    )


if __name__ == "__main__":
    main()
