"""Odd inputs, in seeded groups: what ends in a traceback, hangs, crashes, or is wrong in silence.

    python bench/fuzz.py [--cases 300] [--seconds 60] [--groups commands recipes] [--seed 0]
    python bench/fuzz.py --first 100 --cases 50 --add       # the next slice of a long run
    python bench/fuzz.py --show commands 17       # one case again, with all that it printed

Each case is a command of `ravine` in a process forked from this one, so that starting costs
nothing, with a limit of time and memory. A good end is exit code 0, or 2 with one line. Of what is
taken, some groups check that it was right. The corpus is the seed: case N of a group is always the
same input. Results are kept with --keep, added to what is kept with --add; --table prints them as
docs/security.md shows them.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fuzzing.case import Outcome, run_case
from fuzzing.fixtures import prepare
from fuzzing.groups import GROUPS, make_case
from results import keep, kept

FAULTS = ("traceback", "hang", "crash", "several lines", "wrong")


def fuzz(arguments: argparse.Namespace, folder: Path) -> dict[str, Counter[str]]:
    """Runs cases of all groups in turn until they, or the seconds, are over."""
    began = time.monotonic()
    fixtures = prepare(folder / "fixtures")
    counts: dict[str, Counter[str]] = {name: Counter() for name in arguments.groups}
    for number in range(arguments.first, arguments.first + arguments.cases):
        for name in arguments.groups:
            if arguments.seconds and time.monotonic() - began > arguments.seconds:
                return counts
            case = make_case(name, number, arguments.seed, fixtures, folder / "case")
            outcome = run_case(case, folder / "case")
            counts[name][outcome.kind] += 1
            if outcome.kind in FAULTS:
                _say(name, number, outcome)
    return counts


def _say(name: str, number: int, outcome: Outcome) -> None:
    last = outcome.text.strip().splitlines()[-1:] or [""]
    print(f"{outcome.kind}: {name} {number}: {outcome.command[:300]}: {last[0][:300]}", flush=True)


def show(name: str, number: int, seed: int, folder: Path) -> None:
    case = make_case(name, number, seed, prepare(folder / "fixtures"), folder / "case")
    outcome = run_case(case, folder / "case")
    print(f"{outcome.kind}, exit code {outcome.code}, {outcome.seconds:.1f} s: {outcome.command}")
    print(outcome.text)


def summary(counts: dict[str, Counter[str]]) -> dict[str, Any]:
    rows = {name: dict(sorted(found.items())) for name, found in counts.items()}
    total: Counter[str] = sum(counts.values(), Counter())
    return {
        "cases": sum(total.values()),
        "faults": {kind: total[kind] for kind in FAULTS},
        "groups": rows,
    }


def table(found: dict[str, Any]) -> str:
    """Returns the kept figures as Markdown."""
    lines = ["| group | cases | refused in a line | taken | tracebacks | hangs | crashes | wrong |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name, row in found["groups"].items():
        shown = [row.get(kind, 0) for kind in ("refused", "taken", "traceback", "hang", "crash")]
        shown.append(row.get("wrong", 0) + row.get("several lines", 0))
        lines.append(f"| {name} | {sum(row.values())} | {' | '.join(map(str, shown))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=300, help="of each group, at most")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=0.0, help="for all; 0: no limit")
    parser.add_argument("--groups", nargs="*", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", nargs=2, metavar=("GROUP", "NUMBER"))
    parser.add_argument("--keep", action="store_true", help="write bench/results/fuzz.json")
    parser.add_argument("--add", action="store_true", help="add to what is kept")
    parser.add_argument("--table", action="store_true", help="print what was kept last")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(kept("fuzz")))
        return
    with tempfile.TemporaryDirectory(prefix="ravine-fuzz-") as scratch:
        folder = Path(scratch)
        if arguments.show:
            show(arguments.show[0], int(arguments.show[1]), arguments.seed, folder)
            return
        counts = fuzz(arguments, folder)
        before = kept("fuzz")["groups"] if arguments.add else {}
        for name in before:
            counts[name] = counts.get(name, Counter()) + Counter(before[name])
        found = summary(counts)
    words = list(itertools.chain(["python bench/fuzz.py"], sys.argv[1:]))
    if arguments.keep or arguments.add:
        keep("fuzz", " ".join(word for word in words if word != "--keep"), found)
    print(json.dumps(found))
    sys.exit(any(found["faults"].values()))


if __name__ == "__main__":
    main()
