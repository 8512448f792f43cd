"""Races on real training: what early stopping saves, and what scheduling costs.

    python bench/races.py [--epochs 2] [--jobs 2] [--optimizers momentum,…]

The same race of five optimizers, six trials each, runs twice on the sample: with early stopping of
hopeless trials, and with every trial to its end. The winner has to be the same; the time that is
saved is that of the whole race, fresh seeds and page included. Scheduling is what is lost of the
time of the slots while jobs were in them: 1 − seconds worked / seconds held.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results import keep

from ravine.workflows.race import Race

OPTIMIZERS = "momentum,adagrad,rmsprop,adam,nadam"
RACE = ["@fashion", "--model", "swift-1", "--trials", "6", "--seeds", "3"]


def run(out: Path, *options: str) -> tuple[Race, float]:
    """Returns a finished race and the seconds from start to end of its process."""
    began = time.monotonic()
    command = [sys.executable, "-m", "ravine", "race", *RACE, *options, "--out", str(out)]
    subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return Race.load(out), time.monotonic() - began


def facts(race: Race, seconds: float) -> dict[str, Any]:
    table = {row["name"]: round(row["mean"], 4) for row in race.table if row["results"]}
    return {
        "seconds": round(seconds, 1),
        "steps of the search not taken": round(race.results["saved"]["search"], 3),
        "scheduling": round(race.results["scheduling"], 4),
        "verdict": race.verdict,
        "means": table,
    }


def winners(race: Race) -> set[str]:
    """Returns the names of rank 1: the best, and those that are tied with it."""
    return {row["name"] for row in race.table if row["rank"] == 1}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", default="2")
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--optimizers", default=OPTIMIZERS)
    chosen = parser.parse_args()
    options = ("--epochs", chosen.epochs, "--jobs", chosen.jobs, "--optimizers", chosen.optimizers)
    with tempfile.TemporaryDirectory() as folder:
        early, took = run(Path(folder) / "early", *options)
        to_the_end, whole = run(Path(folder) / "whole", *options, "--no-early")
        figures = {
            "early stopping": facts(early, took),
            "all to the end": facts(to_the_end, whole),
            "time saved": round(1 - took / whole, 3),
            "same best mean": early.table[0]["name"] == to_the_end.table[0]["name"],
            "same winners": winners(early) == winners(to_the_end),
        }
    keep("races", f"python bench/races.py {' '.join(options)}", figures)


if __name__ == "__main__":
    main()
