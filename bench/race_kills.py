"""A budgeted race, killed twice on the way: does it end in time, with nothing lost or run twice?

    python bench/race_kills.py [--budget 30min] [--kill 7 16] [--out FOLDER]

Five optimizers, six trials, three fresh seeds on the sample. All of its processes get SIGKILL at
the given minutes, and the race is called again in the same words a few seconds later. What had
been done before a kill must lie there untouched at the end: the outcomes, the last weights.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results import keep

from ravine.runs.rows import read_json
from ravine.tournament.job_graph import JobGraph
from ravine.training.settings import seconds_of
from ravine.workflows.race import Race

RACE = ["@fashion", "--model", "swift-1", "--trials", "6", "--seeds", "3"]
OPTIMIZERS = "momentum,adagrad,rmsprop,adam,nadam"
PAUSE = 5.0


def start(out: Path, budget: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ravine", "race", *RACE, "--optimizers", OPTIMIZERS]
    command += ["--budget", budget, "--out", str(out), "--quiet"]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)


def done(out: Path) -> dict[Path, str]:
    """Returns the digest of each outcome, and of the weights of each run that has ended."""
    files = [*(out / "outcomes").glob("*@*.json"), *(out / "runs").glob("*/model.safetensors")]
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def run_with_kills(out: Path, budget: str, minutes: list[float]) -> list[dict[Path, str]]:
    """Runs a race that is killed at these minutes; returns what was done before each kill."""
    began = time.monotonic()
    process = start(out, budget)
    before: list[dict[Path, str]] = []
    for minute in minutes:
        try:
            process.wait(timeout=60 * minute - (time.monotonic() - began))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(PAUSE)
        before.append(done(out))
        print(f"killed after {minute:g} minutes: {len(before[-1])} files done", flush=True)
        process = start(out, budget)
    if process.wait() != 0:
        raise SystemExit("the race did not end well")
    return before


def figures_of(
    out: Path, before: list[dict[Path, str]], took: float, budget: str
) -> dict[str, Any]:
    after, race = done(out), Race.load(out)
    graph = JobGraph(**read_json(out / "plan.json")["course"])
    return {
        "kills": len(before),
        "seconds": round(took, 1),
        "of the budget": round(took / seconds_of(budget), 3),
        "jobs": sum(name.suffix == ".json" for name in after),
        "done before the kills": [len(files) for files in before],
        "changed after a kill": sum(
            after.get(file) != digest for files in before for file, digest in files.items()
        ),
        "runs on fresh seeds": sum(len(row["results"]) for row in race.table),
        "runs on fresh seeds planned": len(graph.trials) * len(graph.seeds),
        "scheduling": round(race.results["scheduling"], 4),
        "steps of the search not taken": round(race.results["saved"]["search"], 3),
        "verdict": race.verdict,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", default="30min")
    parser.add_argument("--kill", type=float, nargs="*", default=[7.0, 16.0], help="minutes")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = chosen.out or Path(folder) / "race"
        began = time.monotonic()
        before = run_with_kills(out, chosen.budget, chosen.kill)
        figures = figures_of(out, before, time.monotonic() - began, chosen.budget)
    words = f"--budget {chosen.budget} --kill {' '.join(f'{m:g}' for m in chosen.kill)}"
    keep("race-kills", f"python bench/race_kills.py {words}", figures)


if __name__ == "__main__":
    main()
