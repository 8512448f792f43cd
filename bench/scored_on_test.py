"""One change of a setting, scored on the 10,000 test images, seed by seed.

    python bench/scored_on_test.py --fashion FOLDER --cifar FOLDER_OF_JPEG --data fashion-500 \\
        --vary cutmix=0,1 --epochs 60 --seeds 5 [--model swift-1] [--out build/leaderboard]
    python bench/scored_on_test.py … --data cifar-50 --vary model=wrn-16-4,swift-1 --epochs 10 \\
        [--image-size 96] [--tested 2000]

A race of the journal scores on what it holds out, of few images a few hundred, which hides two
points. Here everyone trains on all images of the data (a fixed part, leaderboard_data.py), and the
test images decide. Runs that are there are not made again, also where another comparison of the
setting has made them; docs/journal.md shows them. `--image-size` enlarges the images, and
`--tested` scores on the first so many of the test images, which are in no order.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
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
    size = ["--image-size", str(asked.image_size)] if asked.image_size else []
    size += ["--small-size", str(asked.small_size)] if asked.small_size else []
    return [
        *([] if setting == "model" else ["--model", asked.model]), "--epochs", f"{asked.epochs:g}",
        f"--{setting.replace('_', '-')}", value, *size, "--validation", "0", "--threads", "1",
    ]  # fmt: skip


def with_few_tests(board: Board, count: int, out: Path) -> Board:
    """Returns the board with the first `count` of its test images, linked below `out`."""
    truth = dict(list(board.truth.items())[:count])
    test = out / f"{board.test.parent.name}-test-{count}"
    test.mkdir(exist_ok=True)
    for name in truth:
        if not (test / name).exists():
            (test / name).hardlink_to(board.test / name)
    return replace(board, test=test, truth=truth)


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
    key = name_of(board, setting, values, asked)
    for seed in range(asked.seeds):
        for value in values:
            entries = kept(NAME)
            entry = entries.setdefault(key, new_entry(board, setting, values, asked))
            found: Mapping[str, float] = entry["accuracies"][value]
            if str(seed) in found:
                continue
            share = made_before(entries, entry, value, seed)
            if share is None:
                options = options_of(asked, setting, value)
                share = accuracy(board, options, seed, asked.out)
            entry["accuracies"][value][str(seed)] = share
            keep(NAME, "python bench/scored_on_test.py", entries, show=False)
            print(f"{key}, {setting} {value}, seed {seed}: {100 * share:.2f} %", flush=True)
            write_page(IDEAS)


def name_of(board: Board, setting: str, values: tuple[str, str], asked: Any) -> str:
    """Returns the name of an entry."""
    what = " or ".join(values) if setting == "model" else f"{asked.model}, {' or '.join(values)}"
    size = f", {asked.image_size} px" if asked.image_size else ""
    size += f", {asked.small_size} px first" if asked.small_size else ""
    return f"{setting}, {board.name}{size}, {asked.epochs:g} epochs, {what}"


def made_before(
    entries: Mapping[str, Any], entry: Mapping[str, Any], value: str, seed: int
) -> float | None:
    """Returns the accuracy of such a run in another entry, None where there is none."""
    same = ("setting", "data", "epochs", "model", "image_size", "small_size", "tested")
    for other in entries.values():
        if all(other.get(name) == entry.get(name) for name in same):
            found: float | None = other["accuracies"].get(value, {}).get(str(seed))
            if found is not None:
                return found
    return None


def new_entry(
    board: Board, setting: str, values: tuple[str, str], asked: argparse.Namespace
) -> dict[str, Any]:
    """Returns an entry without runs."""
    options = options_of(asked, setting, ",".join(values))
    return {
        "setting": setting, "data": board.name, "images": board.count, "epochs": asked.epochs,
        "model": "" if setting == "model" else asked.model, "today": values[0], "tried": values[1],
        "command": " ".join(["ravine train DATA", *options]),
        "accuracies": {value: {} for value in values},
        **({"image_size": asked.image_size} if asked.image_size else {}),
        **({"small_size": asked.small_size} if asked.small_size else {}),
        **({"tested": asked.tested} if asked.tested else {}),
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
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--small-size", type=int, default=0, help="as of ravine train")
    parser.add_argument("--tested", type=int, default=0, help="test images; without it all")
    parser.add_argument("--out", type=Path, default=Path("build/leaderboard"))
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    setting, _, both = asked.vary.partition("=")
    today, _, tried = both.partition(",")
    sources = {"fashion": asked.fashion, "cifar": asked.cifar}
    present = {name: folder for name, folder in sources.items() if folder is not None}
    board = prepare(asked.data, present, asked.out / "data")
    if asked.tested:
        board = with_few_tests(board, asked.tested, asked.out / "data")
    measure(board, setting, (today, tried), asked)


if __name__ == "__main__":
    main()
