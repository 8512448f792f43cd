"""The fault zoo: healthy runs and faults, each named or not; goes on where it stopped.

    make bench-faults CIFAR=cifar10-jpeg.tar.gz     # about half an hour on one core
    python bench/faults/run.py --cifar FILE --only healthy --part set

Rows land in bench/results/faults.jsonl; `page.py` writes docs/fault-zoo.md. Checks and thresholds
were set on the part `set` and, after a first look, mended on the part `seen`; the part `told` is
reported: the runs of `seen` on the other data.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from table import ROWS
from training import diagnose
from zoo import FAULTS, HEALTHY, Plan, on_other_data

PARTS = ("set", "seen", "told")


def cases() -> Iterator[tuple[str, str, tuple[str, ...], Plan]]:
    """Yields name, part, correct codes and plan of every run."""
    for number, plan in enumerate(HEALTHY):
        yield f"{plan.net} {plan.data} {plan.optimizer} {number}", PARTS[number % 2], (), plan
        other = on_other_data(plan)
        yield f"{plan.net} {other.data} {plan.optimizer} {number}", "told", (), other
    for fault in FAULTS:
        plans = (*fault.plans, on_other_data(fault.plans[1]))
        for part, plan in zip(PARTS, plans, strict=True):
            yield fault.name, part, fault.codes, fault.change(plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="names, or healthy, faults; with commas")
    parser.add_argument("--part", choices=PARTS, default=None)
    parser.add_argument("--rows", type=Path, default=ROWS)
    given = parser.parse_args()
    given.rows.parent.mkdir(exist_ok=True)
    done = set()
    if given.rows.exists():
        kept = [json.loads(line) for line in given.rows.read_text().splitlines()]
        done = {(row["name"], row["part"], row["seed"]) for row in kept}
    torch.set_num_threads(1)
    for seed in range(given.seeds):
        for name, part, codes, plan in cases():
            kinds = {"healthy": not codes, "faults": bool(codes)}
            wanted = any(kinds.get(one, one in name) for one in given.only.split(","))
            if wanted and given.part in (None, part) and (name, part, seed) not in done:
                run_one(given, name, part, codes, plan, seed)


def run_one(
    given: argparse.Namespace, name: str, part: str, codes: tuple[str, ...], plan: Plan, seed: int
) -> None:
    began = time.monotonic()
    try:
        found, facts = diagnose(plan, seed, given.cifar)
    except Exception:
        traceback.print_exc()
        sys.exit(f"{name}, {part}, seed {seed}: the diagnosis itself broke")
    row = {
        "name": name,
        "part": part,
        "seed": seed,
        "right": list(codes),
        "found": [[one.severity, one.code, list(one.symptoms)] for one in found],
        **facts,
    }
    with given.rows.open("a") as file:
        file.write(json.dumps(row) + "\n")
    first = found[0].code if found else "nothing"
    mark = "ok " if (first in codes if codes else not found.of("critical")) else "BAD"
    shown = ", ".join(f"{one.severity[0]} {one.code}" for one in found)
    print(f"{mark} {name} [{part} {seed}] {time.monotonic() - began:.1f} s: {shown}", flush=True)


if __name__ == "__main__":
    main()
