"""Budgets kept, and accuracy within them, on a machine that is quiet, busy, or becomes busy.

    python bench/budget.py DATA [--budgets 20s,60s,120s] [--loops 1] [--when quiet,start,middle]
        [--recipe NAME] [--repeats 1]

Each run is `ravine train DATA --budget B` in a process of its own, after one that fills the cache.
Beside it run as many endless loops as named, not pinned and of equal nice value: from the start,
from the middle of the budget, or none. The situations take turns. Printed are the seconds that
the run says it took, of those promised, and the accuracy on the test images.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from busy import stopped_loops
from results import keep, kept, processor_kind

from ravine.training.settings import seconds_of


def one_run(
    data: str, budget: str, recipe: str, when: str, loops: int, out: Path
) -> dict[str, Any]:
    """Trains once; the endless loops begin at the start or in the middle of the budget."""
    command = [sys.executable, "-m", "ravine", "train", data, "--budget", budget, "--out", str(out)]
    command += ["--recipe", recipe] if recipe else []
    promised = seconds_of(budget)
    begin = {"quiet": None, "start": 0.0, "middle": promised / 2}[when]
    with stopped_loops(loops if begin is not None else 0) as beside:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        started = out / "history.jsonl"
        timer = threading.Thread(target=_begin, args=(process, started, begin or 0.0, beside))
        timer.start()
        code = process.wait()
        timer.join()
    if code:
        sys.exit(f"bench/budget.py: {' '.join(command)} ended with {code}")
    seconds = json.loads((out / "environment.json").read_text())["seconds"]
    result = json.loads((out / "evaluation.json").read_text())
    taken = seconds["training"] + seconds["evaluation"]
    return {
        "budget, s": promised,
        "taken, s": round(taken, 1),
        "evaluation, s": round(seconds["evaluation"], 1),
        "taken of promised": round(taken / promised, 3),
        "accuracy, %": round(100 * result["accuracy"], 2),
        "interval, %": [round(100 * v, 2) for v in result["interval"]],
    }


def _begin(process: Any, started: Path, after: float, beside: list[int]) -> None:
    """Continues the stopped loops some seconds after the run's folder has its history."""
    while not started.exists() and process.poll() is None:
        threading.Event().wait(0.05)
    threading.Event().wait(after)
    for pid in beside:
        os.kill(pid, signal.SIGCONT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--budgets", default="20s,60s,120s")
    parser.add_argument("--when", default="quiet,start,middle")
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--recipe", help="fast, or a file; by default Ravine's defaults")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--no-keep", action="store_true")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.repeats):
            for budget in asked.budgets.split(","):
                for when in asked.when.split(","):
                    out = Path(folder, f"{number}-{budget}-{when}")
                    found = one_run(asked.data, budget, asked.recipe, when, asked.loops, out)
                    rows.append({"when": when, "loops": asked.loops, **found})
                    print(rows[-1], flush=True)
    if not asked.no_keep:
        name = f"budget-{processor_kind()}"
        rows = merged(kept(name).get("rows", []), rows)
        words = (Path(word).name if word == asked.data else word for word in sys.argv[1:])
        command = " ".join(["python bench/budget.py", *words])
        keep(name, command, {"rows": rows, "medians": medians(rows)})


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the new rows, and the old ones of other budgets and situations."""
    kinds = {_kind(row) for row in new}
    return [row for row in old if _kind(row) not in kinds] + new


def _kind(row: dict[str, Any]) -> tuple[float, str, int]:
    return row["budget, s"], row["when"], row["loops"]


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the median accuracy and the longest run, by budget and situation."""
    kinds = dict.fromkeys((row["budget, s"], row["when"]) for row in rows)
    return {
        f"{budget:g} s, {when}": {
            "accuracy, %": statistics.median(one["accuracy, %"] for one in found),
            "longest of promised": max(one["taken of promised"] for one in found),
        }
        for budget, when in kinds
        if (found := [r for r in rows if (r["budget, s"], r["when"]) == (budget, when)])
    }


if __name__ == "__main__":
    main()
