"""What a training keeps of its quiet speed while endless loops run beside it.

    python bench/busy.py [--only wrn-16-4] [--loops 0,1,2] [--rounds 5] [--seconds 3] [--no-flags]

For each network, in one process: Ravine's whole loop and the eager loop with the best flags of
torch, in turn; and round by round no endless loop, one and two beside, not pinned and of equal
nice value. The loops are stopped and continued, so that quiet and busy rounds alternate; a round is
timed from its third second on. Torch's loop has Ravine's sleeping threads too, as both run in one
process. Printed are medians of images/s, and medians over rounds of busy ÷ quiet. The results lie
in results/busy-PROCESSOR-LEVEL.json.
"""

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from results import keep, processor_kind

from ravine.core.device import pick_device, pick_precision
from ravine.core.memory import keep_freed_memory
from ravine.kernels.library import without_library
from ravine.training.interleaved import repeated
from ravine.training.reference_loops import flags_loop, random_batch
from ravine.workflows.bench import CLASSES, BenchRequest
from ravine.workflows.session import open_session
from ravine.workflows.whole_loop import whole_loop

SETTLED = 2.0  # seconds until Ravine has seen what runs beside (`kernels/sleeping_threads.py`)
ENDLESS = "while True: pass"


@contextmanager
def stopped_loops(number: int) -> Iterator[list[int]]:
    """Yields the processes of endless loops, stopped until they are continued."""
    loops = [subprocess.Popen([sys.executable, "-c", ENDLESS]) for _ in range(number)]
    try:
        for loop in loops:
            os.kill(loop.pid, signal.SIGSTOP)
        yield [loop.pid for loop in loops]
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds_of_step(
    run: Callable[[int], None], steps: int, beside: list[int], *, untimed: int = 0
) -> float:
    """Returns the seconds of a step while the processes `beside` run, after `untimed` steps."""
    for pid in beside:
        os.kill(pid, signal.SIGCONT)
    try:
        if untimed:
            run(untimed)
        start = time.perf_counter()
        run(steps)
        return (time.perf_counter() - start) / steps
    finally:
        for pid in beside:
            os.kill(pid, signal.SIGSTOP)


def measured(
    request: BenchRequest, numbers: list[int], rounds: int, seconds: float, *, flags: bool
) -> dict[str, dict[int, list[float]]]:
    """Returns the seconds of a step by loop and number of endless loops, one for each round."""
    device = pick_device()
    keep_freed_memory()
    precision = pick_precision(request.precision, device)
    with open_session() as session:
        session.use_threads(request.threads)
        sizes = {"size": request.size, "channels": request.channels, "classes": CLASSES}
        with whole_loop(request.recipe, session, **sizes) as whole:
            runs = {"ravine": whole.run}
            if flags:
                images, labels = random_batch(
                    request.batch, request.channels, request.size, classes=CLASSES, device=device
                )
                model = request.recipe.build_model(
                    classes=CLASSES, channels=request.channels, image_size=request.size
                )
                step = flags_loop(model, images, labels, precision=precision)
                runs["best flags, eager"] = repeated(step)
            return in_turn(runs, numbers, rounds, seconds)


def in_turn(
    runs: dict[str, Callable[[int], None]], numbers: list[int], rounds: int, seconds: float
) -> dict[str, dict[int, list[float]]]:
    """Returns the seconds of a step by loop and number of endless loops, one for each round."""
    found = {name: {number: [] for number in numbers} for name in runs}
    steps = {}
    with stopped_loops(max(numbers)) as loops:
        for round_number in range(rounds + 1):
            for name, run in runs.items():
                with nullcontext() if name == "ravine" else without_library():
                    if round_number == 0:
                        run(3)
                        taken = seconds_of_step(run, 2, [])
                        steps[name] = max(2, round(seconds / taken))
                        continue
                    for number in numbers:
                        untimed = math.ceil(steps[name] * SETTLED / seconds)
                        taken = seconds_of_step(run, steps[name], loops[:number], untimed=untimed)
                        found[name][number].append(taken)
    return found


def row(request: BenchRequest, name: str, found: dict[int, list[float]]) -> dict[str, Any]:
    """Returns images/s and what is kept of the quiet speed, by number of endless loops."""
    quiet = found[min(found)]
    return {
        "network": f"{request.network} at {request.size}×{request.size}×{request.channels}",
        "batch": request.batch,
        "loop": name,
        "images/s": {n: round(request.batch / statistics.median(s), 1) for n, s in found.items()},
        "kept": {
            n: round(statistics.median(q / b for q, b in zip(quiet, s, strict=True)), 3)
            for n, s in found.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="wrn-16-4")
    parser.add_argument("--loops", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--no-flags", action="store_true")
    parser.add_argument("--no-keep", action="store_true")
    asked = parser.parse_args()
    numbers = [int(number) for number in asked.loops.split(",")]
    rows = []
    for network in asked.only.split(","):
        request = BenchRequest.of(network)
        found = measured(request, numbers, asked.rounds, asked.seconds, flags=not asked.no_flags)
        rows += [row(request, name, times) for name, times in found.items()]
        for line in rows[-len(found) :]:
            print(json.dumps(line, ensure_ascii=False))
    if not asked.no_keep:
        keep(f"busy-{processor_kind()}", "bench/busy.py", {"rows": rows})


if __name__ == "__main__":
    main()
