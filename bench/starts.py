"""Which start is best on few images: fresh weights, a frozen backbone, or fine-tuning.

    python bench/starts.py FOLDER_OF_CIFAR_10 [--source RUN] [--seeds 5] [--epochs 10] [--jobs 2]

FOLDER has train/CLASS/ and test/CLASS/. The source is wrn-16-2, trained for 8 epochs on 2,000
images of each of five classes; --source names one that is there already. On the other five classes,
100 training and 400 test images each, fresh weights and fine-tuning race by `ravine race`, one
trial and fresh seeds each, a thread a job; then frozen backbones with 1 and 8 views. Features:
10,000 images at 64 pixels through a frozen resnet-18 once, then epochs of its head. About six
minutes on two quiet cores; seconds mean nothing on a machine that does other work.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from results import keep, kept

import ravine
from ravine.core.events import Event, Notice
from ravine.workflows.race import Race

SOURCE = ("airplane", "automobile", "bird", "cat", "deer")
OTHERS = ("dog", "frog", "horse", "ship", "truck")
TRAIN, TEST = 100, 400  # images of each class
OF_SOURCE = 2000  # images of each class
ONE_THREAD = ("--threads", "1")
MODEL = "wrn-16-2"
MANY = 10_000


def chosen(cifar: Path, out: Path, classes: tuple[str, ...], **counts: int) -> Path:
    """Returns a folder with links to the first images of some classes, by split."""
    for split, count in counts.items():
        for name in classes:
            folder = out / split / name
            folder.mkdir(parents=True)
            for file in sorted((cifar / split / name).iterdir())[: count or None]:
                (folder / file.name).symlink_to(file.resolve())
    return out


def ravine_command(*words: object) -> None:
    command = [sys.executable, "-m", "ravine", *map(str, words), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def raced(
    data: Path,
    out: Path,
    *,
    seeds: int,
    epochs: float,
    jobs: int,
    vary: str,
    fixed: tuple[str, ...] = (),
) -> Race:
    """Returns a race of starts, in `jobs` processes of a thread each."""
    varied = ["--vary", vary, *fixed, *ONE_THREAD]
    rules = ["--trials", 1, "--seeds", seeds, "--epochs", epochs, "--jobs", jobs, "--out", out]
    ravine_command("race", data, "--model", MODEL, *varied, *rules)
    return Race.load(out)


def seconds(race: Race, row: dict[str, Any]) -> float:
    """Returns the median seconds of training of a candidate's runs on fresh seeds."""
    runs = [race.path / "runs" / f"{row['folder']}-seed-{seed}" for seed in row["results"]]
    return statistics.median(ravine.Run.load(run).epochs[-1]["elapsed"] for run in runs)


def called(name: str) -> str:
    """Returns what a candidate is called here: a start has the path of its weights in its name."""
    if not name.startswith("weights="):
        return name
    return "fresh" if name == "weights=none" else "fine-tuned"


def rows_of(race: Race) -> dict[str, Any]:
    return {
        called(row["name"]): {
            "accuracy": round(row["mean"], 4),
            "interval": [one and round(one, 4) for one in row["interval"]],
            "seconds of training": round(seconds(race, row), 1),
            "by seed": {seed: round(value, 4) for seed, value in row["results"].items()},
        }
        for row in race.table
    }


def trained_source(cifar: Path, scratch: Path) -> Path:
    """Returns the run on five classes that the others start from."""
    data = chosen(cifar, scratch / "five", SOURCE, train=OF_SOURCE) / "train"
    source = scratch / "source"
    ravine_command("train", data, "--model", MODEL, "--epochs", 8, "--out", source)
    return source


def gains(figures: dict[str, Any]) -> dict[str, float]:
    """Returns what the starts gain over fresh weights, in points, and the frozen one's time."""
    fresh, tuned = (figures["fresh and fine-tuned"][name] for name in ("fresh", "fine-tuned"))
    frozen = figures["frozen"]["views=1"]
    share = frozen["seconds of training"] / fresh["seconds of training"]
    return {
        "fine-tuned over fresh": round(100 * (tuned["accuracy"] - fresh["accuracy"]), 1),
        "frozen over fresh": round(100 * (frozen["accuracy"] - fresh["accuracy"]), 1),
        "frozen, share of the time of fresh": round(share, 3),
    }


def features(cifar: Path, scratch: Path) -> dict[str, Any]:
    """Returns how long a frozen resnet-18 takes on many images: features, then epochs."""
    every = SOURCE + OTHERS
    data = chosen(cifar, scratch / "many", every, train=MANY // len(every), test=10)
    start = chosen(cifar, scratch / "few", SOURCE, train=20, test=10)
    common: dict[str, Any] = {"image_size": 64, "threads": 1, "show": "none"}
    ravine.train(start, model="resnet-18", epochs=1, out=scratch / "start", **common)
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice) and event.text.startswith("features of"):
            said.append(event.text)

    found: dict[str, Any] = {}
    for name in ("first run", "cached"):
        began = time.monotonic()
        run = ravine.train(
            data,
            weights=str(scratch / "start"),
            freeze="backbone",
            views=1,
            augment="none",
            epochs=10,
            out=scratch / name.replace(" ", "-"),
            observers=[listen],
            **common,
        )
        times = [row["elapsed"] for row in run.epochs]
        apart = [after - before for before, after in pairwise(times)]
        found[name] = {
            "features": said[-1],
            "seconds of an epoch of the head": round(statistics.median(apart), 3),
            "seconds in all": round(time.monotonic() - began, 1),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cifar", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-keep", action="store_true")
    parser.add_argument("--only", choices=("races", "features"))
    asked = parser.parse_args()
    figures: dict[str, Any] = kept("starts") if asked.only else {}
    scratch = Path(tempfile.mkdtemp())
    try:
        if asked.only != "features":
            data = chosen(asked.cifar, scratch / "others", OTHERS, train=TRAIN, test=TEST)
            source = asked.source or trained_source(asked.cifar, scratch)
            figures["source"] = round(ravine.Run.load(source).result["accuracy"], 4)
            common = {"seeds": asked.seeds, "epochs": asked.epochs, "jobs": asked.jobs}
            starts = raced(data, scratch / "starts", vary=f"weights=none,{source}", **common)
            frozen = ("--weights", str(source), "--freeze", "backbone")
            ways = raced(data, scratch / "ways", vary="views=1,8", fixed=frozen, **common)
            figures["fresh and fine-tuned"] = rows_of(starts) | {
                "verdict": starts.verdict.replace(f"weights={source}", "fine-tuned").replace(
                    "weights=none", "fresh"
                )
            }
            figures["frozen"] = rows_of(ways)
            figures["points"] = gains(figures)
        if asked.only != "races":
            figures["frozen resnet-18"] = features(asked.cifar, scratch)
        print(json.dumps(figures, indent=1))
        command = (
            f"bench/starts.py CIFAR --seeds {asked.seeds} --epochs {asked.epochs:g} "
            f"--jobs {asked.jobs}"
        )
        if not asked.no_keep:
            keep("starts", command, figures)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
