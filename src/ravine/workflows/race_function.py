"""`race --function`: search, rollouts, convergence rates, page, animation, files.

problem + candidates -> race (search, rollouts) -> convergence rates -> race.html, race.gif, …
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

from ravine.core.atomic import disk_error, make_folder, write_whole
from ravine.core.errors import SettingError
from ravine.core.progress import Progress, no_progress
from ravine.runs.rows import plain
from ravine.test_functions.animation import write_animation
from ravine.test_functions.candidates import Candidate
from ravine.test_functions.function_race import FunctionRace, race_on_function
from ravine.test_functions.learning_rate_search import SearchBudget
from ravine.test_functions.problem import Point, Problem
from ravine.test_functions.quadratic import ConvergenceRow, convergence_rows
from ravine.test_functions.rollout_page import function_page


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRaceFiles:
    """A finished race on a function, and its files.

    Attributes:
        race: all candidates.
        convergence: measured and predicted convergence rates; none unless it is a quadratic.
        files: page, animation and numbers.
    """

    race: FunctionRace
    convergence: tuple[ConvergenceRow, ...]
    files: tuple[Path, ...]

    def numbers(self) -> dict[str, Any]:
        """Returns the numbers of results.json; infinite and undefined ones are None."""
        return _numbers(self.race, self.convergence)


def race_function(
    problem: Problem,
    candidates: Sequence[Candidate],
    *,
    steps: int,
    start: Point | None,
    starts: int,
    budget: SearchBudget,
    seed: int,
    out: Path,
    mp4: bool = False,
    progress: Progress = no_progress,
) -> FunctionRaceFiles:
    """Races optimizers on a function and writes race.html, race.gif and results.json.

    Args:
        problem: the function.
        candidates: the optimizers; those without a learning rate search one within `budget`.
        steps: of every run.
        start: of the picture; the problem's own if None.
        starts: of the statistics.
        budget: of the search.
        seed: of starts and batches.
        out: folder.
        mp4: write race.mp4 too.
        progress: observer of slow work.

    Raises:
        SettingError: a number does not fit, the function is not finite, or an MP4 is wanted
            without what writes it.
        RunError: the folder cannot be written.
    """
    if mp4 and (find_spec("imageio") is None or find_spec("imageio_ffmpeg") is None):
        raise SettingError("mp4 needs imageio and its ffmpeg: pip install 'ravine[video]'")
    race = race_on_function(
        problem, candidates, steps=steps, start=start, starts=starts, budget=budget, seed=seed,
        progress=progress,
    )  # fmt: skip
    tuned = [(result.candidate, result.lr) for result in race.results]
    convergence = convergence_rows(problem, race.start, tuned, seed=seed)
    files = _write(race, convergence, out, mp4=mp4, progress=progress)
    return FunctionRaceFiles(race=race, convergence=convergence, files=files)


def _write(
    race: FunctionRace,
    convergence: tuple[ConvergenceRow, ...],
    out: Path,
    *,
    mp4: bool,
    progress: Progress,
) -> tuple[Path, ...]:
    progress("drawing", 0, 1)
    try:
        make_folder(out)
    except OSError as error:
        raise disk_error(out, error) from error
    page, numbers, gif = out / "race.html", out / "results.json", out / "race.gif"
    video = out / "race.mp4" if mp4 else None
    write_whole(page, function_page(race, convergence).encode())
    text = json.dumps(_numbers(race, convergence), ensure_ascii=False, indent=1)
    write_whole(numbers, text.encode())
    write_animation(race, gif, video)
    progress("drawing", 1, 1)
    return (page, gif, numbers, *([video] if video else []))


def _numbers(race: FunctionRace, convergence: tuple[ConvergenceRow, ...]) -> dict[str, Any]:
    rows = [
        {
            "setting": row.name,
            "lr": row.lr,
            "momentum": row.momentum,
            "rate_in_theory": row.predicted,
            "rate_measured": row.measured,
            "fitted_as_k_rho_k": row.critical,
        }
        for row in convergence
    ]
    return plain({**race.numbers(), "theory": rows})
