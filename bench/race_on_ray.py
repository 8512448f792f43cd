"""A race of short trials on a local Ray cluster against the same race without.

    python bench/race_on_ray.py [--rounds 3] [--trials 4] [--epochs 5] [--jobs 2]

The two take turns, each in a fresh process; the figures are the ratios of the medians, of seconds
and of seconds of the processor, which others on the machine do not change. A head with as many
cores as there are jobs is started before and stands ready, as a cluster does. Ray's workers are
given the priority of the local jobs (Ray's default is niceness 15, so that on a busy machine others
would come first). All weights have to be equal bit for bit. Needs `pip install ravine[ray]`.
"""

import argparse
import contextlib
import hashlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from process_family import family, processor_seconds_of
from results import keep

RACE = [
    "--model", "wrn-10-1", "--optimizers", "momentum,adam", "--seeds", "1", "--batch", "16",
    "--threads", "1", "--no-early", "--convolution", "guess", "--quiet",
]  # fmt: skip


@contextlib.contextmanager
def head(cores: int, home: Path, patience: float) -> Iterator[str]:
    """Yields the address of a head that is stopped at the end.

    A head that does not register in time, as on a busy machine, is stopped, and another is tried.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        log = home / f"head-{attempt}.log"
        with contextlib.ExitStack() as stack:
            address, process = stack.enter_context(_started(cores, home, log))
            reason = _missing(address, process, cores, patience)
            if not reason:
                print(f"a head at {address}, attempt {attempt}", flush=True)
                yield address
                return
        said = log.read_text(errors="replace").strip().splitlines()[-3:]
        print(f"attempt {attempt}: {reason}; it printed: {said}", flush=True)
    raise SystemExit(f"no head of Ray in {_ATTEMPTS} attempts of {patience:g} s")


@contextlib.contextmanager
def _started(cores: int, home: Path, log: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Yields a head's address and process, which has just begun, and ends all of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = [*_RAY, "start", "--head", "--block", "--node-ip-address", "127.0.0.1"]
    words += ["--port", str(port), "--num-cpus", str(cores), "--include-dashboard", "false"]
    words += ["--disable-usage-stats", "--temp-dir", str(home / f"ray-{port}")]
    # On a busy machine a node takes long to register, and misses its beats.
    waits = {"RAY_raylet_start_wait_time_s": "180", "RAY_health_check_timeout_ms": "60000"}
    environment = {**os.environ, **waits, "HOME": str(home), "RAY_worker_niceness": "0"}
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, env=environment)
    try:
        yield f"127.0.0.1:{port}", process
    finally:
        everyone = family(process.pid)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _missing(address: str, process: "subprocess.Popen[bytes]", cores: int, patience: float) -> str:
    """Waits until a head offers its cores; returns what is missing after `patience` seconds."""
    reason, deadline = "it did not answer", time.monotonic() + patience
    asked = [sys.executable, "-W", "ignore", "-c", _CORES, address]
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return f"it ended with code {process.returncode}"
        left = max(1.0, deadline - time.monotonic())
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=left)
        except subprocess.TimeoutExpired:
            return "a client waited for it"
        if done.returncode == 0 and float(done.stdout.split()[-1]) >= cores:
            return ""
        reason = (done.stderr.strip().splitlines() or [f"it offers {done.stdout.strip()}"])[-1]
        time.sleep(1.0)
    return reason


_RAY = [sys.executable, "-W", "ignore", "-m", "ray.scripts.scripts"]
_ATTEMPTS = 4
_CORES = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
print(ray.cluster_resources().get("CPU", 0))
"""


def write_images(path: Path) -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(480) % 2
    images = chance.integers(0, 200, (480, 8, 8, 1), dtype=np.uint8)
    images[labels == 1, ::2] += 40
    np.savez(path, images=images, labels=labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What a race took, in seconds.

    Attributes:
        wall: from start to end of its process.
        processor: of all processes, those of the cluster included.
    """

    wall: float
    processor: float


def timed(words: list[str], out: Path, environment: dict[str, str]) -> Took:
    """Runs a race in a process of its own, beside the cluster of the same home."""
    command = [sys.executable, "-W", "ignore", "-m", "ravine", "race", *words, "--out", str(out)]
    before, began = _of_home(environment["HOME"]), time.monotonic()
    used = dict(before)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    while process.poll() is None:
        time.sleep(_SAMPLE)
        used |= _of_home(environment["HOME"])
    wall = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {command}")
    processor = sum(seconds - before.get(pid, 0.0) for pid, seconds in used.items())
    return Took(wall=round(wall, 2), processor=round(processor, 2))


_SAMPLE = 0.1  # seconds: what a process uses after the last sample of it is not counted


def _of_home(home: str) -> dict[int, float]:
    """Returns the processor time so far of each process with this home: a race, a head, its jobs.

    Ray's workers are nobody's children once they have ended, so that sums of children are short.
    """
    mark, seconds = f"HOME={home}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                seconds[int(folder.name)] = processor_seconds_of(int(folder.name))
    return seconds


def weights(race: Path) -> dict[str, str]:
    paths = sorted((race / "runs").glob("*/model.safetensors"))
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", default="4")
    parser.add_argument("--epochs", default="5")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--patience", type=float, default=120.0, help="seconds for a head to start")
    parser.add_argument("--no-keep", action="store_true")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        # Short: the sockets of Ray lie below it.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="r-"))
        place = Path(folder)
        address = stack.enter_context(head(chosen.jobs, place, chosen.patience))
        environment = {**os.environ, "HOME": folder, "RAVINE_CACHE": str(place / "cache")}
        write_images(place / "stripes.npz")
        words = [str(place / "stripes.npz"), *RACE, "--trials", chosen.trials]
        words += ["--epochs", chosen.epochs]
        ways = {"local": ["--jobs", str(chosen.jobs)], "ray": ["--ray", address]}
        took: dict[str, list[Took]] = {way: [] for way in ways}
        for number in range(chosen.rounds):
            for way, where in ways.items():
                out = place / f"{way}-{number}"
                took[way].append(timed([*words, *where], out, environment))
                print(f"{way}: {took[way][-1]}", flush=True)
        first = weights(place / "local-0")
        others = [weights(place / f"{way}-{n}") for way in ways for n in range(chosen.rounds)]
    figures: dict[str, Any] = {"jobs": len(first)}
    for clock in ("wall", "processor"):
        seconds = {way: [getattr(one, clock) for one in found] for way, found in took.items()}
        medians = {way: statistics.median(found) for way, found in seconds.items()}
        figures |= {
            f"{clock} seconds": seconds,
            f"ratio of {clock} seconds": round(medians["ray"] / medians["local"], 3),
        }
    figures["weights equal bit for bit"] = bool(first) and all(first == one for one in others)
    if chosen.no_keep:
        print(figures)
        return
    keep("race-on-ray", "python bench/race_on_ray.py " + " ".join(sys.argv[1:]), figures)


if __name__ == "__main__":
    main()
