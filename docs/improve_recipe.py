"""An agent's loop: improves a recipe by races, within a fixed time, and says what it did.

    .venv/bin/python docs/improve_recipe.py @fashion --minutes 60 --out runs/improved

Each round races the best recipe so far against one change of it, on paired seeds, within a fixed
budget. A change is kept only where the race says that it is better, beyond doubt. What remains is
trained once, and compared with what the agent began with, image by image. Everything is read from
`--json` lines and exit codes; a loop that is stopped and called again goes on where it was.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What the agent begins with, and the changes in the order in which they are worth a round.
FIRST = {"norm": "none", "schedule": "constant", "optimizer": "momentum", "label_smoothing": "0"}
CHANGES = (
    ("norm", "batch"),
    ("schedule", "one-cycle"),
    ("optimizer", "nadam"),
    ("label_smoothing", "0.1"),
)


def ravine(*words: object) -> tuple[int, list[dict[str, Any]]]:
    """Runs a command with --json; returns its exit code and its rows.

    0: done; 2: a mistake in what was asked, in one line; 130, 143: stopped, to be called again.
    """
    command = [sys.executable, "-m", "ravine", *map(str, words), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def say(text: str, began: float) -> None:
    """Prints a line of the log, with the minutes since the start."""
    print(f"{(time.monotonic() - began) / 60:5.1f} min  {text}", flush=True)


def options(settings: dict[str, str]) -> Iterator[str]:
    """Yields settings as options of a command."""
    for name, value in settings.items():
        yield from (f"--{name.replace('_', '-')}", value)


def race_round(data: str, name: str, value: str, kept: dict[str, str],
               folder: Path, budget: str) -> tuple[str | None, str]:  # fmt: skip
    """Races one change against what is kept; returns the value that is better, and why."""
    others = {key: value for key, value in kept.items() if key != name}
    words = [
        "race",
        data,
        "--vary",
        f"{name}={kept[name]},{value}",
        "--out",
        folder,
        *options(others),
    ]
    code, rows = ravine(*words, "--budget", budget, "--trials", 1, "--seeds", 3)
    if code != 0 or not rows or rows[-1]["kind"] != "result":
        return None, f"exit code {code}"
    result = rows[-1]
    best = result["table"][0]
    tied = best["tied"] or len(best["results"]) < 2
    return (None if tied else best["name"].partition("=")[2]), result["verdict"]


def main() -> None:
    """Improves a recipe until the time is up, and compares the last with the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--model", default="swift-1")
    parser.add_argument("--fixed", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("runs/improved"))
    asked = parser.parse_args()
    began = time.monotonic()
    fixed = dict(pair.split("=", 1) for pair in asked.fixed)
    first = {"model": asked.model, **FIRST, **fixed}
    kept = dict(first)

    def budget(rounds: int) -> str:
        """Returns an equal part of the time that is left, for so many rounds and two trainings."""
        left = 60 * asked.minutes - (time.monotonic() - began)
        return f"{max(30.0, left / (rounds + 2)):.0f}s"

    for number, (name, value) in enumerate(CHANGES):
        folder = asked.out / f"race-{name}"
        share = budget(len(CHANGES) - number)
        found, why = race_round(asked.data, name, value, kept, folder, share)
        kept[name] = found or kept[name]
        say(f"{name}: {'keeps ' + found if found else 'no change'}. {why}", began)
    share = budget(0)
    for run, settings in (("first", first), ("last", kept)):
        words = ["train", asked.data, "--out", asked.out / run, "--budget", share]
        if not (asked.out / run).exists():
            code, rows = ravine(*words, *options(settings), "--seed", 0)
            say(f"{run}: exit code {code}, accuracy {rows[-1].get('accuracy')}", began)
    _, rows = ravine("compare", asked.out / "first", asked.out / "last")
    say(rows[-1]["verdict"], began)


if __name__ == "__main__":
    main()
