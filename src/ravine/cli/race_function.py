"""`ravine race --function ...`: its options as text, and its table; `race.py` has the command."""

import json as json_format
import time
from pathlib import Path

from ravine.cli.display import watching
from ravine.core.errors import SettingError
from ravine.test_functions.candidates import (
    parse_candidates,
    parse_learning_rates,
    split_list,
)
from ravine.test_functions.function_race import CandidateResult, FunctionRace
from ravine.test_functions.height_map import shown
from ravine.test_functions.learning_rate_search import SearchBudget
from ravine.test_functions.problem import Point, Span
from ravine.test_functions.problems import make_problem
from ravine.test_functions.quadratic import ConvergenceRow
from ravine.workflows import race_function as workflow

OPTIMIZERS = "momentum,nesterov,adagrad,rmsprop,adam,nadam"


def race_function(
    function: str,
    *,
    optimizers: str = OPTIMIZERS,
    learning_rates: str = "",
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
    """Races optimizers on a test function, writes its files and prints the table.

    Args are those of the command line, as text.

    Raises:
        SettingError: a name or number does not fit, or the function is not finite.
    """
    began = time.monotonic()
    given = parse_learning_rates(learning_rates) if learning_rates else None
    with watching(quiet=quiet, json=json) as screen:
        done = workflow.race_function(
            make_problem(function, domain=_domain(domain) if domain else None),
            parse_candidates(optimizers, given),
            steps=steps,
            start=_start(start) if start else None,
            starts=starts,
            budget=SearchBudget(trials=trials, tune=tuple(split_list(tune))),
            seed=seed,
            out=out,
            mp4=mp4,
            progress=screen.progress,
        )
    if json:
        print(json_format.dumps(done.numbers(), ensure_ascii=False))
        return
    for line in [*table(done.race, done.convergence), *done.files]:
        print(line)
    if not quiet:
        print(f"{time.monotonic() - began:.1f} s")


def table(race: FunctionRace, convergence: tuple[ConvergenceRow, ...]) -> list[str]:
    """Returns the printed lines of a race: heading, a line for each candidate, remarks."""
    width = max(12, *(len(result.candidate.label) for result in race.results))
    searched = any(result.found for result in race.results)
    how = f"best of {race.budget}" if searched else "learning rates given"
    return [
        f"{race.problem.title}: {race.problem.text}",
        f"{race.steps} steps, exact gradients, nothing clipped; {how}; seed {race.seed}",
        f"{'':{width}}  {'lr':>9}  {'reaches the optimum':>22}  {'median steps':>18}  last loss",
        *(_line(result, width) for result in race.results),
        *(remark for result in race.results for remark in _remarks(result)),
        *(_convergence_line(row) for row in convergence),
    ]


def _remarks(result: CandidateResult) -> list[str]:
    label = result.candidate.label
    remarks = []
    if result.diverged_at is not None:
        remarks.append(
            f"{label} is not finite from step {result.diverged_at} on, from the start of the "
            f"picture, lr {shown(result.lr)}"
        )
    if result.found and result.found.at_edge:
        remarks.append(f"{label}: its learning rate is at the edge of the range searched")
    return remarks


def _convergence_line(row: ConvergenceRow) -> str:
    law = ", k·ρᵏ" if row.critical else ""
    return (
        f"{row.name}: η {shown(row.lr, 4)}, γ {shown(row.momentum, 4)}: convergence rate measured "
        f"{row.measured:.5f}, in theory {row.predicted:.5f}{law}"
    )


def _line(result: CandidateResult, width: int) -> str:
    found = result.statistics
    low, high = found.interval
    share = f"{100 * found.share:.0f} % ({100 * low:.0f}–{100 * high:.0f}) of {found.starts}"
    few, half, many = (f"{step:.0f}" if step < float("inf") else "∞" for step in found.steps)
    diverged = f", {found.diverged} diverged" if found.diverged else ""
    return (
        f"{result.candidate.label:{width}}  {shown(result.lr):>9}  {share:>22}  "
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
