"""Accuracy within so many seconds: Ravine and its peers, on the same files and this machine.

    make leaderboard FASHION=FOLDER CIFAR=FOLDER_OF_JPEG PEERS=PYTHON \\
        ROWS="--data cifar --budget 2min"
    python bench/leaderboard.py --data fashion,cifar --budget 10min --fashion FOLDER --cifar FOLDER
        --peers PYTHON [--who ravine,timm,fastai,ultralytics] [--seeds 3] [--trials 1] [--again]
    python bench/leaderboard.py --page         # docs/leaderboard.md only

PYTHON is that of an environment with what peers/requirements.txt pins. A row is one contestant on
one data set and budget: seeds 0 to N-1, one run after the other, each in processes of its own,
contestants in turn seed by seed. Every run is kept in results/leaderboard-PROCESSOR.json as soon as
it has ended, so that the same command goes on where it was stopped; `--again` measures what is
named once more.

Everyone trains on all training images, from fresh weights, sees no other image, and predicts
the 10,000 test images, which have no labels there; this script scores the predictions. The seconds
are those of training, from when the data is ready: imports, listing files, caching and predicting
are free.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderboard_data import Board, hold_out, prepare
from leaderboard_page import write_page
from peers.contestants import CONTESTANTS, Setting
from results import keep, kept, processor_kind

from ravine.core.other_load import OtherLoad
from ravine.training.settings import seconds_of

PEERS = Path(__file__).parent / "peers"
Run = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all runs share: where results are kept, the peers' Python, and a folder for runs."""

    name: str
    python: str | None
    place: Path
    argv: str

    def runs(self) -> list[Run]:
        return list(kept(self.name).get("runs", []))

    def keep(self, runs: list[Run]) -> None:
        order = {name: place for place, name in enumerate(CONTESTANTS)}
        runs.sort(key=lambda r: (r["data"], r["budget, s"], order[r["who"]], r["seed"]))
        keep(self.name, self.argv, {"runs": runs}, show=False)


def train_and_predict(
    who: str, board: Board, seconds: float, seed: int, setting: Setting, bench: Bench
) -> Run:
    """Returns one run: its accuracy, the seconds and epochs of training, the network."""
    with tempfile.TemporaryDirectory(dir=bench.place) as folder:
        out = Path(folder)
        start, before = time.monotonic(), _processor_seconds()
        if CONTESTANTS[who].script is None:
            report = _ravine(board, seconds, seed, setting, out)
        else:
            report = _peer(who, board, seconds, seed, setting, bench, out)
        report["seconds, all told"] = round(time.monotonic() - start, 1)
        report["processor seconds"] = round(_processor_seconds() - before, 1)
        hits = score(out / "predictions.csv", board.truth)
    return {"accuracy, %": round(100 * hits / len(board.truth), 2), **report}


def score(predictions: Path, truth: Mapping[str, str]) -> int:
    """Returns how many images have their class; every image must have one prediction."""
    with predictions.open(newline="") as file:
        found = {row[0]: row[1] for row in csv.reader(file) if row[0] in truth}
    if found.keys() != truth.keys():
        raise SystemExit(f"leaderboard: {len(found)} of {len(truth)} test images are predicted")
    return sum(found[name] == label for name, label in truth.items())


def _ravine(board: Board, seconds: float, seed: int, setting: Setting, out: Path) -> Run:
    options = [f"--{name}={value}" for name, value in setting.items()]
    train = ["train", str(board.train), "--budget", f"{seconds:g}s", "--validation", "0"]
    _call(
        sys.executable,
        "-m",
        "ravine",
        *train,
        "--seed",
        str(seed),
        *options,
        "--out",
        str(out / "run"),
    )
    named = str(out / "predictions.csv")
    _call(
        sys.executable, "-m", "ravine", "predict", str(out / "run"), str(board.test), "--out", named
    )
    facts = json.loads((out / "run" / "environment.json").read_text())
    rows = (out / "run" / "history.jsonl").read_text().splitlines()
    last = json.loads(rows[-1])
    return {
        "network": facts["model"]["name"],
        "seconds": round(sum(facts["seconds"][k] for k in ("training", "evaluation")), 1),
        "epochs": round(last["epoch"], 2),
    }


def _peer(
    who: str, board: Board, seconds: float, seed: int, setting: Setting, bench: Bench, out: Path
) -> Run:
    if bench.python is None:
        raise SystemExit(f"leaderboard: {who} needs --peers PYTHON, of peers/requirements.txt")
    task = {
        "train": str(board.train), "test": str(board.test), "seconds": seconds, "seed": seed,
        "setting": dict(setting), "out": str(out),
    }  # fmt: skip
    (out / "task.json").write_text(json.dumps(task))
    _call(bench.python, str(PEERS / str(CONTESTANTS[who].script)), str(out / "task.json"))
    report = json.loads((out / "report.json").read_text())
    report["seconds"], report["epochs"] = round(report["seconds"], 1), round(report["epochs"], 2)
    return dict(report)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"leaderboard: {' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )


def _processor_seconds() -> float:
    """Returns the processor seconds of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def version(who: str, python: str | None) -> str:
    """Returns the version of a contestant's package, as its environment has it."""
    package = CONTESTANTS[who].package
    program = python if CONTESTANTS[who].script else sys.executable
    asked = f"import importlib.metadata as m; print(m.version({package!r}), m.version('torch'))"
    found = subprocess.run([str(program), "-c", asked], check=True, capture_output=True, text=True)
    own, torch = found.stdout.split()
    return f"{own}, torch {torch}"


def choose_setting(
    who: str, board: Board, seconds: float, trials: int, bench: Bench
) -> tuple[Setting, list[float]]:
    """Returns the best of the first settings on held-out training images, and all accuracies."""
    settings = CONTESTANTS[who].settings[:trials]
    if len(settings) == 1:
        return settings[0], []
    with tempfile.TemporaryDirectory(dir=bench.place) as folder:
        held = hold_out(board, Path(folder))
        found = [
            float(train_and_predict(who, held, seconds, 0, setting, bench)["accuracy, %"])
            for setting in settings
        ]
    return settings[found.index(max(found))], found


def measure_row(
    board: Board, budget: str, contestants: Sequence[str], asked: Any, bench: Bench
) -> None:
    """Measures what is missing of one data set and budget, seed by seed."""
    seconds = seconds_of(budget)
    chosen: dict[str, tuple[Setting, list[float]]] = {}
    for seed in range(asked.seeds):
        for who in contestants:
            key = {"data": board.name, "budget, s": seconds, "who": who, "trials": asked.trials}
            runs = bench.runs()
            same = [r for r in runs if all(r[k] == v for k, v in key.items())]
            if any(r["seed"] == seed for r in same) and not asked.again:
                continue
            if same and who not in chosen and not asked.again:
                chosen[who] = same[0]["setting"], same[0]["accuracies of trials, %"]
            if who not in chosen:
                chosen[who] = choose_setting(who, board, seconds, asked.trials, bench)
            setting, trials = chosen[who]
            others = others_cores()
            run = train_and_predict(who, board, seconds, seed, setting, bench)
            key |= {"seed": seed}
            whole = {
                **key, "version": version(who, bench.python), "setting": dict(setting),
                "accuracies of trials, %": trials, "images": board.count, **run,
                "others' cores before": others, "date": time.strftime("%Y-%m-%d"),
            }  # fmt: skip
            others = [r for r in runs if any(r[k] != v for k, v in key.items() if k != "trials")]
            bench.keep([*others, whole])
            print(
                f"{board.name}, {budget}, {who}, seed {seed}: {run['accuracy, %']:.2f} %, "
                f"{run['epochs']} epochs of {run['network']} in {run['seconds']} s",
                flush=True,
            )
            write_page()


def others_cores() -> float:
    """Returns how many cores other processes keep busy, over a second.

    The load average would count the run before.
    """
    load = OtherLoad()
    time.sleep(1)
    return round(load.cores(), 2)


def arguments() -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="fashion,cifar,cifar-5000,fashion-500")
    parser.add_argument("--budget", default="2min")
    parser.add_argument("--who", default=",".join(CONTESTANTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--peers", help="the Python of an environment with peers/requirements.txt")
    parser.add_argument("--out", type=Path, default=Path("build/leaderboard"))
    parser.add_argument("--name", help="of the results, instead of leaderboard-PROCESSOR")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--page", action="store_true")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    if asked.page:
        return write_page()
    contestants = asked.who.split(",")
    if unknown := set(contestants) - set(CONTESTANTS):
        raise SystemExit(
            f"leaderboard: nobody is called {', '.join(unknown)}; {', '.join(CONTESTANTS)}"
        )
    asked.out.mkdir(parents=True, exist_ok=True)
    os.environ["RAVINE_CACHE"] = str((asked.out / "cache").resolve())
    sources = {k: v for k in ("fashion", "cifar") if (v := getattr(asked, k)) is not None}
    argv = f"python bench/leaderboard.py --data {asked.data} --budget {asked.budget}"
    name = asked.name or f"leaderboard-{processor_kind()}"
    bench = Bench(name=name, python=asked.peers, place=asked.out.resolve(), argv=argv)
    for data in asked.data.split(","):
        board = prepare(data, sources, bench.place / "data")
        for budget in asked.budget.split(","):
            measure_row(board, budget, contestants, asked, bench)
    return write_page()


if __name__ == "__main__":
    main()
