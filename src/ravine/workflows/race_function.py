"""What a race on a function leaves behind: a page, an animation, all numbers."""

import json
from pathlib import Path
from typing import Any

from ravine.core.atomic import disk_error, write_whole
from ravine.runs.rows import plain
from ravine.test_functions.animation import write_animation
from ravine.test_functions.function_race import FunctionRace
from ravine.test_functions.quadratic import RateRow
from ravine.test_functions.rollout_page import function_page


def write_race(
    race: FunctionRace, theory: tuple[RateRow, ...], out: Path, *, mp4: bool
) -> list[Path]:
    """Writes the files of a race into a folder and returns their paths.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(out, error) from error
    page, numbers, gif = out / "race.html", out / "results.json", out / "race.gif"
    film = out / "race.mp4" if mp4 else None
    write_whole(page, function_page(race, theory).encode())
    text = json.dumps(race_numbers(race, theory), ensure_ascii=False, indent=1)
    write_whole(numbers, text.encode())
    write_animation(race, gif, film)
    return [page, gif, numbers, *([film] if film else [])]


def race_numbers(race: FunctionRace, theory: tuple[RateRow, ...]) -> dict[str, Any]:
    """Returns all numbers of a race as JSON has them; what is infinite or undefined is None."""
    rows = [
        {
            "setting": row.name,
            "lr": row.lr,
            "momentum": row.momentum,
            "rate_in_theory": row.predicted,
            "rate_measured": row.measured,
            "fitted_as_k_rho_k": row.critical,
        }
        for row in theory
    ]
    return plain({**race.numbers(), "theory": rows})
