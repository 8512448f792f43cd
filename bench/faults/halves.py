"""The zoo's second part, split in two halves: one to work on, one that is scored once.

    python bench/faults/halves.py develop             # rows in /tmp, printed
    python bench/faults/halves.py held-out            # bench/results/faults-held-out.jsonl, once
    python bench/faults/halves.py develop --only "average,clipping"

The seed that splits was committed with the situations, before a detector was changed for them.
Each half has every second fault and every second healthy run of one shuffled order; each situation
runs with two seeds. Whoever looks at a row of the held-out half before the score moves it over.
The third part (`faults_of_others.py`, `healthy_others.py`), the fourth (`faults_of_targets.py`,
`healthy_targets.py`), the fifth (`faults_of_samples.py`, `healthy_samples.py`), the sixth
(`faults_of_measures.py`, `healthy_measures.py`) and the seventh (`healthy_losses.py`,
`healthy_steps.py`) came later and are all to work on.
"""

import argparse
import json
import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from faults_of_data import FAULTS_OF_DATA
from faults_of_loops import FAULTS_OF_LOOPS
from faults_of_measures import FAULTS_OF_MEASURES
from faults_of_others import FAULTS_OF_OTHERS
from faults_of_samples import FAULTS_OF_SAMPLES
from faults_of_targets import FAULTS_OF_TARGETS
from healthy_losses import HEALTHY_LOSSES
from healthy_measures import HEALTHY_MEASURES
from healthy_others import HEALTHY_OTHERS
from healthy_samples import HEALTHY_SAMPLES
from healthy_steps import HEALTHY_STEPS
from healthy_targets import HEALTHY_TARGETS
from healthy_unusual import HEALTHY_UNUSUAL
from situation import Row, watch

SPLIT_SEED = 20261129
SEEDS = (0, 1)
_RESULTS = Path(__file__).parents[1] / "results"
HALVES = ("develop", "held-out")


def half_of(name: str, rows: Sequence[Row]) -> list[Row]:
    """Returns one half of rows, in a shuffled order."""
    order = list(rows)
    random.Random(SPLIT_SEED).shuffle(order)
    return order[HALVES.index(name) :: 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("half", choices=HALVES)
    parser.add_argument("--only", default="", help="parts of names, with commas")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--rows", type=Path, default=None)
    given = parser.parse_args()
    own = Path("/tmp/faults-develop.jsonl")
    file = given.rows or (own if given.half == "develop" else _RESULTS / "faults-held-out.jsonl")
    done = set()
    if file.exists():
        kept = [json.loads(line) for line in file.read_text().splitlines()]
        done = {(row["name"], row["seed"]) for row in kept}
    torch.set_num_threads(1)
    rows = half_of(given.half, [*FAULTS_OF_LOOPS, *FAULTS_OF_DATA])
    rows += half_of(given.half, HEALTHY_UNUSUAL)
    if given.half == "develop":
        rows += [*FAULTS_OF_OTHERS, *HEALTHY_OTHERS, *FAULTS_OF_TARGETS, *HEALTHY_TARGETS]
        rows += [*FAULTS_OF_SAMPLES, *HEALTHY_SAMPLES, *FAULTS_OF_MEASURES, *HEALTHY_MEASURES]
        rows += [*HEALTHY_LOSSES, *HEALTHY_STEPS]
    for seed in SEEDS[: given.seeds]:
        for row in rows:
            wanted = any(part in row.name for part in given.only.split(","))
            if wanted and (row.name, seed) not in done:
                run_one(row, seed, file)


def run_one(row: Row, seed: int, file: Path) -> None:
    """Diagnoses a situation, and appends what was found; a crash is a result."""
    torch.manual_seed(seed)
    began = time.monotonic()
    result = {"name": row.name, "seed": seed, "right": list(row.codes), "source": row.source}
    try:
        found, facts = watch(row.make(seed))
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        result |= {"crash": f"{type(error).__name__}: {error}", "found": []}
        mark, shown = "CRASH", str(error)
    else:
        codes = [[one.severity, one.code, list(one.symptoms)] for one in found]
        result |= {"crash": None, "found": codes, **facts}
        first = found[0].code if found else "nothing"
        alarms = [one for one in found if one.severity != "note"]
        is_right = first in row.codes if row.codes else not alarms
        mark, shown = "ok " if is_right else "BAD", ", ".join(f"{c[0][0]} {c[1]}" for c in codes)
    with file.open("a") as lines:
        lines.write(json.dumps(result) + "\n")
    kind = "fault" if row.codes else "healthy"
    print(
        f"{mark} {kind} {row.name} [{seed}] {time.monotonic() - began:.1f} s: {shown}", flush=True
    )


if __name__ == "__main__":
    main()
