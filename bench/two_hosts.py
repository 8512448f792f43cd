"""torchrun over two hosts, one of which is killed: the other ends, one host goes on.

    python bench/two_hosts.py [--epochs 6] [--lose killed unplugged]      (root on Linux; no GPU)

The hosts are two network namespaces with names of their own, joined by a cable; gloo sums the
gradients. `killed`: all processes of the second host get SIGKILL. `unplugged`: its cable is cut, so
that nothing tells the first host, which waits until the system gives the connection up: after a
quarter of an hour. `ravine resume` then goes on with one process on the first host.
Without batch norm and dropout the losses of the epochs are those of an undisturbed run of one
process, up to rounding, if each step has the same images: the order of the data.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from results import keep

from ravine.runs.rows import read_rows

PORT = 29611
SETTINGS = [
    "--model", "resnet-cifar-8", "--norm", "none", "--lr", "0.01", "--batch", "15", "--augment",
    "crop", "--precision", "float32", "--threads", "1", "--convolution", "guess",
]  # fmt: skip
ROUNDING = 1e-3  # of a loss, where the order of its sums differs


@dataclass(frozen=True, kw_only=True)
class Host:
    """A network namespace with one end of the cable."""

    name: str
    address: str
    cable: str

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts a command there, with the host's name as its own."""
        named = f'hostname {self.name} && exec "$@"'
        command = ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", named, "sh"]
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": self.cable, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*command, *words], stdout=pipe, stderr=pipe, text=True, env=environment
        )

    def kill(self) -> None:
        """Kills every process of the host."""
        for pid in _lines("ip", "netns", "pids", self.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def unplug(self) -> None:
        """Cuts the cable."""
        _lines("ip", "-n", self.name, "link", "set", self.cable, "down")


def _lines(*words: str) -> list[str]:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.split()


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Makes two namespaces and the cable between them, and removes them."""
    mark = f"ravine{os.getpid()}"
    hosts = [
        Host(name=f"{mark}-{n}", address=f"10.77.0.{n}", cable=f"rv{os.getpid()}-{n}")
        for n in (1, 2)
    ]
    first, second = hosts
    for host in hosts:
        _lines("ip", "netns", "add", host.name)
    try:
        cable = ["type", "veth", "peer", "name", second.cable, "netns", second.name]
        _lines("ip", "link", "add", first.cable, "netns", first.name, *cable)
        for host in hosts:
            inside = ("ip", "-n", host.name)
            _lines(*inside, "address", "add", f"{host.address}/24", "dev", host.cable)
            _lines(*inside, "link", "set", host.cable, "up")
            _lines(*inside, "link", "set", "lo", "up")
        yield first, second
    finally:
        for host in hosts:
            host.kill()
            _lines("ip", "netns", "del", host.name)


def torchrun(rank: int, *words: str) -> list[str]:
    where = ["--master-addr", "10.77.0.1", "--master-port", str(PORT)]
    hosts = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank)]
    return [sys.executable, "-m", "torch.distributed.run", *hosts, *where, "-m", "ravine", *words]


def write_images(path: Path) -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(480) % 2
    images = chance.integers(0, 200, (480, 8, 8, 1), dtype=np.uint8)
    images[labels == 1, ::2] += 40
    images[labels == 0, :, ::2] += 40
    np.savez(path, images=images, labels=labels)


def losses(run: Path) -> list[float]:
    """Returns the training loss of each epoch, in order."""
    return [row["train_loss"] for row in read_rows(run / "history.jsonl") if row["kind"] == "epoch"]


def lose_a_host(way: str, words: list[str], run: Path, epochs: int) -> dict[str, Any]:
    """Trains on two hosts for some epochs, loses the second, and goes on with one process."""
    with two_hosts() as (first, second):
        began = time.monotonic()
        processes = [
            host.start(*torchrun(rank, "train", *words, "--out", str(run)))
            for rank, host in enumerate((first, second))
        ]
        while not (run / "history.jsonl").exists() or len(losses(run)) < epochs:
            if processes[0].poll() is not None:
                raise RuntimeError(processes[0].communicate()[1])
            time.sleep(0.1)
        trained = time.monotonic() - began
        second.unplug() if way == "unplugged" else second.kill()
        lost = time.monotonic()
        error = processes[0].communicate()[1]
        ended = time.monotonic() - lost
    line = next((text for text in error.splitlines() if text.startswith("ravine: ")), "")
    resume = [sys.executable, "-m", "ravine", "resume", str(run), "--quiet"]
    done = subprocess.run(resume, capture_output=True, text=True)
    return {
        "seconds to the loss": round(trained, 1),
        "seconds until the other host ended": round(ended, 1),
        "its line": line,
        "exit code of resume": done.returncode,
        "said on resume": done.stderr.strip().splitlines()[-1:],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", default="6")
    parser.add_argument("--lose", nargs="*", default=["killed"], choices=["killed", "unplugged"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        os.environ["RAVINE_CACHE"] = str(place / "cache")
        write_images(place / "stripes.npz")
        words = [str(place / "stripes.npz"), *SETTINGS, "--epochs", chosen.epochs, "--quiet"]
        words += ["--checkpoint-every", "1"]
        alone = [sys.executable, "-m", "ravine", "train", *words, "--out", str(place / "alone")]
        subprocess.run(alone, check=True, stdout=subprocess.DEVNULL)
        undisturbed = losses(place / "alone")
        figures = {}
        for way in chosen.lose:
            row = lose_a_host(way, words, place / way, epochs=len(undisturbed) // 3)
            found = np.array(losses(place / way))
            whole = len(found) == len(undisturbed)
            differs = np.abs(found / np.array(undisturbed) - 1).max() if whole else np.inf
            row |= {
                "epochs": len(found),
                "largest relative difference of an epoch's loss": float(differs),
                "the same order of data": bool(differs < ROUNDING),
            }
            figures[way] = row
    keep("two-hosts", "python bench/two_hosts.py " + " ".join(sys.argv[1:]), figures)


if __name__ == "__main__":
    main()
