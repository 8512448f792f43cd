"""Kills at random instants (SIGKILL), over eight settings: what is lost, what has other bits?

    python bench/kills.py [--kills 1000] [--seconds 600] [--seed 0]
    python bench/kills.py --seed 1 --add        # the next slice of a long storm

In each setting a command runs once undisturbed. Then it is killed, several times in a row, its way
on is taken as a user would (`ravine resume`, or the same command again), and what it leaves is
compared with the undisturbed: weights bit for bit, the rows of the epochs and the findings as text,
surfaces, caches and exports byte by byte, and that no part of a file is left over.

Half of the kills come when the command has used a random part of the processor time of the
undisturbed one, so that a busy machine moves none of them. The other half come between two
operations on files (open to write, rename, remove, make a folder), the random n-th from the start.
A kill takes all processes of the command, or its own process alone: of a race, the jobs live on
and the same command meets them. The children are forked from one process that has imported
everything, so that kills fall into the work and not into the start.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing.case import remove
from fuzzing.fixtures import SETTINGS, prepare
from process_family import family, processor_seconds
from results import keep, kept

from ravine.cli.main import main as command
from ravine.runs.surface import Surface

_OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
_TRAIN = ["train", "tree", "--out", "run", "--quiet", *_OPTIONS]
_IN_A_ROW = (4, 12)
_LIMIT = 1800.0  # seconds of a command that is left alone, on a busy machine


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A command that is killed.

    Attributes:
        begin: its words.
        again: the words that go on with it, where it has begun.
        has_begun: whether there is something to go on with.
        result: what it leaves, as plain values.
        needs_run: whether it works on a finished run.
    """

    begin: list[str]
    again: list[str]
    result: Callable[[Path], Any]
    needs_run: bool = False

    def has_begun(self, folder: Path) -> bool:
        return self.again != self.begin and (folder / "run" / "recipe.toml").is_file()


def of_run(folder: Path) -> dict[str, Any]:
    """Returns what a training leaves: weights, the rows of the epochs, findings, evaluation."""
    run = folder / "run"
    return {
        "weights": _digest(run / "model.safetensors"),
        "epochs": [_without_clock(row) for row in _rows(run / "history.jsonl", kind="epoch")],
        "findings": [row["code"] for row in _rows(run / "findings.jsonl") if _is_of_epochs(row)],
        "evaluation": json.loads((run / "evaluation.json").read_text())["loss"],
        "report": (run / "report.html").is_file(),
        "parts": _parts(folder),
    }


def of_surface(folder: Path) -> dict[str, Any]:
    """Returns what `ravine landscape` leaves: the loss of every node."""
    files = sorted((folder / "run" / "landscape").glob("*.npz"))
    losses = {file.name: Surface.load(file).loss.tobytes().hex() for file in files}
    drawn = sorted(p.suffix for p in (folder / "run" / "landscape").iterdir())
    return {"losses": losses, "files": drawn, "parts": _parts(folder)}


def of_diagnosis(folder: Path) -> dict[str, Any]:
    """Returns what `ravine diagnose` leaves."""
    run = folder / "run"
    return {
        "findings": [row["code"] for row in _rows(run / "findings.jsonl")],
        "weights": _digest(run / "model.safetensors"),
        "report": (run / "report.html").is_file(),
        "parts": _parts(folder),
    }


def of_export(folder: Path) -> dict[str, Any]:
    """Returns what `ravine export` leaves: every file but the proof, which holds times."""
    exported = folder / "run" / "exports" / "onnx"
    proof = json.loads((exported / "proof.json").read_text())
    return {
        "files": {p.name: _digest(p) for p in sorted(exported.iterdir()) if p.suffix != ".json"},
        "proof": sorted(proof),
        "weights": _digest(folder / "run" / "model.safetensors"),
        "parts": _parts(folder),
    }


def of_race(folder: Path) -> dict[str, Any]:
    """Returns what `ravine race` leaves: the weights of every run and the table."""
    race = folder / "race"
    table = json.loads((race / "results.json").read_text())["table"]
    return {
        "weights": {
            path.parent.name: _digest(path)
            for path in sorted(race.glob("runs/*/model.safetensors"))
        },
        "accuracies": [row["results"] for row in table],
        "parts": _parts(folder),
    }


def of_cache(folder: Path) -> dict[str, Any]:
    """Returns what decoding leaves in the cache, and that the images were trained on."""
    cache = folder / "cache"
    arrays = sorted(cache.rglob("*.npy"))
    return {
        "arrays": {a.name: hashlib.sha256(np.load(a).tobytes()).hexdigest() for a in arrays},
        "weights": _digest(folder / "run" / "model.safetensors"),
        "parts": _parts(folder),
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rows(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if kind is None or row["kind"] == kind]


def _is_of_epochs(row: Mapping[str, Any]) -> bool:
    """Returns whether a finding is not one of the rows of steps, which follow the clock."""
    return row["code"] in ("overfitting", "underfitting", "norm-statistics-disagree", "not-finite")


def _without_clock(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("elapsed", "images_per_second")}


def _parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*.part"))


_EVERY_PART = [
    "--epochs=4",
    "--checkpoint-every=0",
    "--ema=0.9",
    "--dropout=0.1",
    "--mixup=0.2",
    "--keep-weights=3",
]
_EVERY_PART += ["--optimizer=nadam", "--clip=auto", "--tta"]
_ROLLED_BACK = ["--epochs=75", "--on-divergence=rollback", "--lr=4", "--optimizer=momentum"]
_ROLLED_BACK += ["--monitor=0", "--no-skip", "--norm=none", "--checkpoint-every=0.3"]
_LANDSCAPE = ["landscape", "run", "--along", "random", "--nodes", "5", "--images", "12", "--quiet"]
_LANDSCAPE += ["--precision", "float32"]  # auto follows the clock
_RACE = ["race", "tree", "--optimizers", "adam,momentum", "--trials", "1", "--seeds", "1"]
_RACE += ["--epochs", "1", "--jobs", "1", "--out", "race", "--quiet"]
_RACE += [word for word in _OPTIONS if "threads" not in word] + ["--threads", "1"]

SETTINGS_OF_KILLS: Mapping[str, Setting] = {
    "train": Setting(
        begin=[*_TRAIN, "--epochs=6", "--checkpoint-every=0"],
        again=["resume", "run", "--quiet"],
        result=of_run,
    ),
    "train, every part": Setting(
        begin=[*_TRAIN, *_EVERY_PART],
        again=["resume", "run", "--quiet"],
        result=of_run,
    ),
    "train, rollback": Setting(
        begin=[*_TRAIN, *_ROLLED_BACK],
        again=["resume", "run", "--quiet"],
        result=of_run,
    ),
    "race": Setting(begin=_RACE, again=_RACE, result=of_race),
    "landscape": Setting(begin=_LANDSCAPE, again=_LANDSCAPE, result=of_surface, needs_run=True),
    "diagnose": Setting(
        begin=["diagnose", "run", "--quiet"],
        again=["diagnose", "run", "--quiet"],
        result=of_diagnosis,
        needs_run=True,
    ),
    "export": Setting(
        begin=["export", "run", "--quiet"],
        again=["export", "run", "--quiet"],
        result=of_export,
        needs_run=True,
    ),
    "cache": Setting(
        begin=[*_TRAIN, "--epochs=0.3", "--checkpoint-every=0"],
        again=["resume", "run", "--quiet"],
        result=of_cache,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a command takes that nobody kills.

    Attributes:
        seconds: of the processor, of all its processes.
        operations: on files, by its own process.
    """

    seconds: float
    operations: int


class Operations:
    """Counts the operations on files of a child, and kills it before one of them."""

    _WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)  # shared with the children

    def begin(self) -> None:
        """Starts counting anew, before a child is forked."""
        self._shared[:] = bytes(8)

    def done(self) -> int:
        """Returns the operations of the child so far."""
        return int.from_bytes(self._shared[:], "little")

    def watch(self, last: int | None) -> None:
        """In the child: counts from here on, and dies before operation number `last`."""

        def hook(event: str, of_event: tuple[Any, ...]) -> None:
            if event not in self._WRITES and not (event == "open" and _writes(of_event)):
                return
            count = self.done() + 1
            self._shared[:] = count.to_bytes(8, "little")
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)


def _writes(of_open: Sequence[Any]) -> bool:
    """Returns whether a file is opened for writing, by the arguments of the audit event."""
    _, mode, flags = of_open
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


OPERATIONS = Operations()


def start(
    words: list[str], folder: Path, *, last: int | None = None, imported: Path | None = None
) -> int:
    """Returns the process of a command in `folder`, forked from this one.

    It dies before its operation on files number `last`, where one is named. At its end it writes
    the names of the modules that it has imported.
    """
    OPERATIONS.begin()
    loaded = set(sys.modules)
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        quiet = os.open(os.devnull, os.O_RDWR)
        log = os.open(folder.with_name("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(quiet, 0)
        os.dup2(quiet, 1)
        os.dup2(log, 2)
        os.environ["RAVINE_CACHE"] = str(folder / "cache")
        sys.argv = ["ravine", *words]
        OPERATIONS.watch(last)
        command()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        if imported is not None:
            imported.write_text("\n".join(sys.modules.keys() - loaded))
        os._exit(code)


def wait(pid: int, *, used: float = float("inf")) -> int | None:
    """Returns the exit code; None for a process that still runs.

    Waits until it and its children have used these seconds of the processor, or have run for so
    long that something must hang.
    """
    until = time.monotonic() + _LIMIT
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        missing = used - processor_seconds(pid) if used < float("inf") else 0.05
        if missing <= 0.0 or time.monotonic() >= until:
            return None
        time.sleep(min(0.05, max(0.002, 0.5 * missing)))


def kill(pid: int, *, alone: bool) -> None:
    """Kills a process, and those that it started unless `alone`, and waits for it."""
    for one in [pid] if alone else family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    os.waitpid(pid, 0)


def run_whole(setting: Setting, fixtures: Path, folder: Path) -> Cost:
    """Runs a command undisturbed in a new folder and returns what it takes.

    What it imports is imported here too, so that later children find it.
    """
    imported = folder.with_name("imported")
    for _ in range(2):
        lay_out(setting, fixtures, folder)
        before = os.times()
        if (code := wait(start(setting.begin, folder, imported=imported))) != 0:
            raise SystemExit(f"{setting.begin}: exit code {code}, undisturbed")
        for name in imported.read_text().splitlines():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    after = os.times()
    seconds = sum(after[2:4]) - sum(before[2:4])
    return Cost(seconds=seconds, operations=OPERATIONS.done())


def lay_out(setting: Setting, fixtures: Path, folder: Path) -> None:
    remove(folder)
    folder.mkdir()
    (folder / "tree").symlink_to(fixtures / "tree")
    if setting.needs_run:
        shutil.copytree(fixtures / "run", folder / "run")


def kill_and_go_on(
    setting: Setting, folder: Path, chance: random.Random, cost: Cost
) -> Counter[str]:
    """Kills a command some times, then lets it end; returns the number of kills of each kind."""
    kills: Counter[str] = Counter()
    for _ in range(chance.randint(*_IN_A_ROW)):
        goes_on = setting.has_begun(folder)
        words = setting.again if goes_on else setting.begin
        by_clock = chance.random() < 0.5
        share = chance.random() * (chance.random() if goes_on else 1.0)  # less is left to do
        last = None if by_clock else 1 + int(share * cost.operations)
        used = share * cost.seconds if by_clock else float("inf")
        pid = start(words, folder, last=last)
        code = wait(pid, used=used)
        if code is None:
            kill(pid, alone=chance.random() < 0.5)
        elif code != -signal.SIGKILL:
            break
        kills["by the clock" if by_clock else "between operations"] += 1
    words = setting.again if setting.has_begun(folder) else setting.begin
    if (code := wait(start(words, folder))) != 0:
        raise RuntimeError(f"exit code {code} after {kills}: {words}")
    return kills


def storm(arguments: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Kills each setting in turn, until the kills or the seconds are over."""
    prepare(folder / "fixtures")
    chance = random.Random(arguments.seed)
    expected, costs = {}, {}
    counts: dict[str, Counter[str]] = {name: Counter() for name in arguments.settings}
    for name in arguments.settings:
        setting = SETTINGS_OF_KILLS[name]
        costs[name] = run_whole(setting, folder / "fixtures", folder / "work")
        expected[name] = setting.result(folder / "work")
        print(f"{name}: {costs[name]} undisturbed", flush=True)
    began = time.monotonic()
    while sum(map(_kills, counts.values())) < arguments.kills:
        for name in arguments.settings:
            setting = SETTINGS_OF_KILLS[name]
            lay_out(setting, folder / "fixtures", folder / "work")
            try:
                counts[name] += kill_and_go_on(setting, folder / "work", chance, costs[name])
                found = setting.result(folder / "work")
            except (RuntimeError, OSError, ValueError) as error:
                found = {"error": str(error)}
            counts[name]["runs"] += 1
            if found != expected[name]:
                counts[name]["other"] += 1
                other = [k for k in expected[name] if found.get(k) != expected[name][k]]
                text = {k: (expected[name][k], found.get(k)) for k in other}
                print(f"{name}: OTHER {found.get('error', '')} {str(text)[:600]}", flush=True)
                if arguments.keep_work:
                    shutil.copytree(folder / "work", arguments.keep_work, symlinks=True)
                    raise SystemExit("the folder of the other result is kept")
        if arguments.seconds and time.monotonic() - began > arguments.seconds:
            break
    return {
        name: {"seconds": round(costs[name].seconds, 1), "operations": costs[name].operations}
        | {kind: counts[name][kind] for kind in (*_KINDS, "runs", "other")}
        for name in arguments.settings
    }


_KINDS = ("by the clock", "between operations")


def _kills(row: Mapping[str, int]) -> int:
    return sum(row[kind] for kind in _KINDS)


def table(found: dict[str, Any]) -> str:
    """Returns the kept figures as Markdown, as docs/reliability.md shows them."""
    heads = ("setting", "killed runs", "kills", *_KINDS, "lost or other")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    rows = found["settings"].items()
    for name, row in [*rows, ("all", sum((Counter(row) for _, row in rows), Counter()))]:
        shown = (row["runs"], _kills(row), *(row[kind] for kind in _KINDS), row["other"])
        lines.append(f"| {name} | {' | '.join(map(str, shown))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.0, help="0: no limit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS_OF_KILLS))
    parser.add_argument("--no-keep", action="store_true")
    parser.add_argument("--keep-work", type=Path, help="copy of the first folder that is other")
    parser.add_argument("--add", action="store_true", help="add to what is kept")
    parser.add_argument("--table", action="store_true", help="print what was kept last")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(kept("kills")))
        return
    with tempfile.TemporaryDirectory(prefix="ravine-kills-") as scratch:
        found = storm(arguments, Path(scratch))
    before = kept("kills")["settings"] if arguments.add else {}
    for name, row in before.items():
        added = found.setdefault(name, {key: row[key] for key in ("seconds", "operations")})
        for key in (*_KINDS, "runs", "other"):
            added[key] = added.get(key, 0) + row[key]
    figures = {
        "kills": sum(map(_kills, found.values())),
        "killed runs": sum(row["runs"] for row in found.values()),
        "lost or other": sum(row["other"] for row in found.values()),
        "settings": found,
    }
    if not arguments.no_keep:
        keep("kills", f"python bench/kills.py {' '.join(sys.argv[1:])}".strip(), figures)
    print(json.dumps(figures))
    sys.exit(bool(figures["lost or other"]))


if __name__ == "__main__":
    main()
