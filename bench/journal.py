"""The laboratory journal: one idea at a time, by Ravine's own races, on two data sets.

    make journal FASHION=FOLDER CIFAR=FOLDER_OF_JPEG [ROWS="--only muon --seeds 5"]
    python bench/journal.py --page                # docs/journal.md only

Every entry is `ravine race` of what is used today against one change of it, at the defaults (one
trial, no search), equal epochs (equal seconds where an idea is about time), paired on fresh seeds,
on Fashion-MNIST and on CIFAR-10 as JPEG, some thousand images of each, half of which is held out
anew for every seed. A race that was stopped goes on; one that has ended is not run again. An idea
is kept only where it is better beyond the interval of the difference on both data sets. The others
are listed with their figures.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journal_page import write_page
from leaderboard_data import prepare
from race_to_end import race_to_end
from results import keep, kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    """One change that is tried.

    Attributes:
        vary: the setting, what is used today, and what is tried instead.
        what: the idea, in a sentence.
        fixed: settings that both have, beyond those of every race.
        seconds: whether both train for the same seconds, of `--budget`, and not the same epochs.
    """

    vary: tuple[str, str, str]
    what: str
    fixed: tuple[str, ...] = ()
    seconds: bool = False


IDEAS: Mapping[str, Idea] = {
    "muon": Idea(
        vary=("optimizer", "nesterov", "muon"),
        what="Orthogonal steps for filters (Muon) instead of Nesterov momentum.",
    ),
    "smoothing": Idea(
        vary=("label_smoothing", "0.2", "0.1"), what="Sharper targets: half the label smoothing."
    ),
    "batch": Idea(
        vary=("batch", "32", "64"), what="Twice the batch that the rule takes, so half the steps."
    ),
    "average": Idea(vary=("ema", "0", "0.95"), what="Averaged weights, about the last 20 steps."),
    "silu": Idea(vary=("activation", "gelu", "silu"), what="SiLU instead of GELU."),
    "dropout": Idea(vary=("dropout", "0", "0.1"), what="Dropout of 0.1 before the head."),
    "cutmix": Idea(vary=("cutmix", "0", "1"), what="Cutmix in every batch."),
    "progressive": Idea(
        vary=("small_size", "0", "20"),
        what="Images of 20 pixels a side for three quarters of the steps.",
        fixed=("--small-share", "0.75"),
        seconds=True,
    ),
    "mixup": Idea(vary=("mixup", "0", "0.2"), what="Mixup."),
    "schedule": Idea(vary=("schedule", "one-cycle", "cosine"), what="Cosine instead of one cycle."),
}


def race(name: str, data: str, asked: Any) -> dict[str, Any]:
    """Runs a race to its end, or goes on with it, and returns what it found."""
    idea, out = IDEAS[name], asked.out / "races" / f"{name}-{data}-{asked.images}"
    setting, today, tried = idea.vary
    sources = {"fashion": asked.fashion, "cifar": asked.cifar}
    board = prepare(f"{data}-{asked.images}", sources, asked.out / "data")
    length = ["--epochs", f"{asked.epochs:g}"]
    if idea.seconds:
        length = ["--budget", asked.budget, "--equal", "seconds"]
    options = [
        "--model", "swift-1", "--vary", f"{setting}={today},{tried}", *idea.fixed, *length,
        "--trials", "1", "--seeds", str(asked.seeds), "--no-early",
        "--validation", "0.5", "--jobs", "1", "--threads", "1",
    ]  # fmt: skip
    found = race_to_end(board.train, options, out)
    if not all(row["results"] for row in found["table"]):
        raise SystemExit(f"journal: {out}: {found['verdict']}")
    return {
        "data": data, "images": asked.images, "epochs": None if idea.seconds else asked.epochs,
        "today": today,
        "tried": tried, "command": " ".join(["ravine race DATA", *options]),
        "verdict": found["verdict"], "measured on": found["measured_on"],
        "accuracies": {row["name"]: row["results"] for row in found["table"]},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--only", default=",".join(IDEAS))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--budget", default="20min", help="of a race of equal seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/leaderboard"))
    parser.add_argument("--page", action="store_true")
    asked = parser.parse_args()
    if asked.page:
        return write_page(IDEAS)
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in asked.only.split(","):
        for data in ("fashion", "cifar"):
            found = race(name, data, asked)
            entries = {**kept("journal"), f"{name}, {data}, {asked.images}": found}
            keep("journal", "python bench/journal.py", entries, show=False)
            write_page(IDEAS)
    return None


if __name__ == "__main__":
    main()
