"""One change of a setting, scored on the 10,000 test images, seed by seed.

    python bench/scored_on_test.py --fashion FOLDER --cifar FOLDER_OF_JPEG --data fashion-500 \\
        --vary cutmix=0,1 --epochs 60 --seeds 5 [--model swift-1] [--out build/leaderboard]

A race of the journal scores on what it holds out, of few images a few hundred, which hides two
points. Here everyone trains on all images of the data (a fixed part, leaderboard_data.py), and the
test images decide. Runs that are there are not made again; docs/journal.md shows them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from journal import IDEAS
from journal_page import write_page
from leaderboard import score
from leaderboard_data import Board, prepare
from results import keep, kept

NAME = "scored-on-test"


def options_of(asked: argparse.Namespace, setting: str, value: str) -> list[str]:
    """Returns what `ravine train` gets beside the data, the seed and the folder."""
    return [
        "--model", asked.model, "--epochs", f"{asked.epochs:g}",
        f"--{setting.replace('_', '-')}", value, "--validation", "0", "--threads", "1",
    ]  # fmt: skip


def accuracy(board: Board, options: list[str], seed: int, place: Path) -> float:
    """Trains once and returns the share of the test images that have their class, in [0, 1]."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        run, named = Path(folder) / "run", Path(folder) / "predictions.csv"
        train = ["train", str(board.train), *options, "--seed", str(seed), "--out", str(run)]
        for command in (train, ["predict", str(run), str(board.test), "--out", str(named)]):
            subprocess.run([sys.executable, "-m", "ravine", *command, "--quiet"], check=True)
        return score(named, board.truth) / len(board.truth)


def measure(board: Board, setting: str, values: tuple[str, str], asked: Any) -> None:
    """Trains what is missing, seed by seed in turn, and keeps each run as it ends."""
    key = f"{setting}, {board.name}, {asked.epochs:g} epochs, {asked.model}"
    for seed in range(asked.seeds):
        for value in values:
            entries = kept(NAME)
            entry = entries.setdefault(key, new_entry(board, setting, values, asked))
            found: Mapping[str, float] = entry["accuracies"][value]
            if str(seed) in found:
                continue
            options = options_of(asked, setting, value)
            share = accuracy(board, options, seed, asked.out)
            entry["accuracies"][value][str(seed)] = share
            keep(NAME, "python bench/scored_on_test.py", entries, show=False)
            print(f"{key}, {setting} {value}, seed {seed}: {100 * share:.2f} %", flush=True)
            write_page(IDEAS)


def new_entry(
    board: Board, setting: str, values: tuple[str, str], asked: argparse.Namespace
) -> dict[str, Any]:
    """Returns an entry without runs."""
    options = options_of(asked, setting, ",".join(values))
    return {
        "setting": setting, "data": board.name, "images": board.count, "epochs": asked.epochs,
        "model": asked.model, "today": values[0], "tried": values[1],
        "command": " ".join(["ravine train DATA", *options]),
        "accuracies": {value: {} for value in values},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--data", required=True, help="fashion-500, cifar-500, …")
    parser.add_argument("--vary", required=True, help="SETTING=TODAY,TRIED")
    parser.add_argument("--model", default="swift-1")
    parser.add_argument("--epochs", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/leaderboard"))
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    setting, _, both = asked.vary.partition("=")
    today, _, tried = both.partition(",")
    sources = {"fashion": asked.fashion, "cifar": asked.cifar}
    present = {name: folder for name, folder in sources.items() if folder is not None}
    board = prepare(asked.data, present, asked.out / "data")
    measure(board, setting, (today, tried), asked)


if __name__ == "__main__":
    main()
