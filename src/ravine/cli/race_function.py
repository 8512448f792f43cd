"""`ravine race --function ...`: what it does and prints; the command itself is in `race.py`."""

import json as json_format
import time
from pathlib import Path

from ravine.cli.display import watching
from ravine.core.errors import SettingError
from ravine.optim.optimizers import OPTIMIZERS
from ravine.test_functions.candidates import racers, rates, split
from ravine.test_functions.function_race import FunctionRace, Lane, race_on_function
from ravine.test_functions.height_map import shown
from ravine.test_functions.problem import Point, Span
from ravine.test_functions.problems import scene
from ravine.test_functions.quadratic import RateRow, rate_rows
from ravine.test_functions.rate_search import Budget
from ravine.workflows.race_function import race_numbers, write_race

ENTERED = ",".join(OPTIMIZERS)


def race_function(
    function: str,
    *,
    optimizers: str = ENTERED,
    lr: str = "",
    steps: int = 300,
    start: str = "",
    domain: str = "",
    starts: int = 200,
    trials: int = 49,
    tune: str = "lr",
    out: Path = Path("race"),
    mp4: bool = False,
    seed: int = 0,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Races optimizers on a test function and writes race.html, race.gif and results.json.

    Args:
        function: a name of `SCENES`, or `module:callable`.
        optimizers: names, `torch:Name`, with settings in brackets; by commas.
        lr: rates that are given, `momentum=0.01,adam=0.1`.
        steps: of every run.
        start: `x,y` of the picture; the function's own if empty.
        domain: `from:to,from:to`; the function's own if empty.
        starts: of the table.
        trials: points of the search.
        tune: what is searched: `lr`, or `lr,momentum,eps`.
        out: folder.
        mp4: write race.mp4 too.
        seed: of starts and batches.
        quiet: print the table only.
        json: print the numbers as one JSON object instead.

    Raises:
        SettingError: a name or number does not fit, or the function is not finite.
    """
    began = time.monotonic()
    at = scene(function, domain=_domain(domain) if domain else None)
    entered = racers(optimizers, rates(lr) if lr else None)
    place = _start(start) if start else None
    with watching(quiet=quiet, json=json) as screen:
        race = race_on_function(
            at,
            entered,
            steps=steps,
            start=place,
            starts=starts,
            budget=Budget(trials=trials, tune=tuple(split(tune))),
            seed=seed,
            progress=screen.progress,
        )
        raced = [(lane.racer, lane.lr) for lane in race.lanes]
        theory = rate_rows(race.scene, race.start, raced, seed=seed)
        screen.progress("drawing", 0, 1)
        files = write_race(race, theory, out, mp4=mp4)
        screen.progress("drawing", 1, 1)
    if json:
        print(json_format.dumps(race_numbers(race, theory), ensure_ascii=False))
        return
    for line in table(race, theory):
        print(line)
    for file in files:
        print(file)
    if not quiet:
        print(f"{time.monotonic() - began:.1f} s")


def table(race: FunctionRace, theory: tuple[RateRow, ...]) -> list[str]:
    """Returns what is printed of a race."""
    width = max(12, *(len(lane.racer.label) for lane in race.lanes))
    given = [lane for lane in race.lanes if lane.found is None]
    how = f"rates: best of {race.budget}" if len(given) < len(race.lanes) else "rates: given"
    lines = [
        f"{race.scene.title}: {race.scene.text}",
        f"{race.steps} steps, exact gradients, nothing clipped; {how}; seed {race.seed}",
        f"{'':{width}}  {'lr':>9}  {'reaches the optimum':>22}  {'median steps':>18}  last loss",
    ]
    lines += [_line(lane, width) for lane in race.lanes]
    for lane in race.lanes:
        if lane.diverged_at is not None:
            lines.append(
                f"{lane.racer.label} left the finite numbers at step {lane.diverged_at} from the "
                f"start of the picture, lr {shown(lane.lr)}"
            )
        if lane.found and lane.found.at_edge:
            lines.append(f"{lane.racer.label}: its rate is at the edge of the range searched")
    for row in theory:
        law = ", k·ρᵏ" if row.critical else ""
        lines.append(
            f"{row.name}: η {shown(row.lr, 4)}, γ {shown(row.momentum, 4)}: rate measured "
            f"{row.measured:.5f}, in theory {row.predicted:.5f}{law}"
        )
    return lines


def _line(lane: Lane, width: int) -> str:
    found = lane.table
    low, high = found.interval
    share = f"{100 * found.share:.0f} % ({100 * low:.0f}–{100 * high:.0f}) of {found.starts}"
    few, half, many = (f"{step:.0f}" if step < float("inf") else "∞" for step in found.steps)
    diverged = f", {found.diverged} diverged" if found.diverged else ""
    return (
        f"{lane.racer.label:{width}}  {shown(lane.lr):>9}  {share:>22}  "
        f"{f'{half} ({few}–{many})':>18}  {shown(found.gaps[1], 2)}{diverged}"
    )


def _start(text: str) -> Point:
    try:
        x, y = text.split(",")
        return float(x), float(y)
    except ValueError:
        raise SettingError(f"--start {text!r} is not x,y, such as --start=-1,2.5") from None


def _domain(text: str) -> tuple[Span, Span]:
    try:
        spans = []
        for part in text.split(","):
            low, high = (float(number) for number in part.split(":"))
            if not low < high or high - low == float("inf"):
                raise ValueError
            spans.append((low, high))
        x, y = spans
    except ValueError:
        raise SettingError(
            f"--domain {text!r} is not x from:to,y from:to, such as --domain=-2:2,-1:3"
        ) from None
    return x, y
