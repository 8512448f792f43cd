"""One HTML file of a race on a function: opens offline, plays, and races from any start.

New rollouts are computed in the browser by JavaScript that is made from the Python of the race
(`javascript.py`); the page checks on opening that the two agree. A race without JavaScript is run
beforehand from a grid of starts, and a click takes the nearest of them.
"""

import json
import math
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from ravine.core.page_style import page_style
from ravine.runs.rows import plain
from ravine.test_functions.function_race import CandidateResult, FunctionRace
from ravine.test_functions.height_map import HeightMap, height_map, shades, shown
from ravine.test_functions.javascript import NoJavaScript, gradient_source, rule_source
from ravine.test_functions.quadratic import ConvergenceRow
from ravine.test_functions.rollout import rollout

_STORED_BYTES = 1_800_000  # of the page's three million


def function_page(race: FunctionRace, convergence: tuple[ConvergenceRow, ...] = ()) -> str:
    """Returns the page.

    Args:
        race: a finished race.
        convergence: measured and predicted convergence rates, of a quadratic.
    """
    heights = height_map(race)
    code, missing = _code(race)
    data = _data(race, heights, convergence) | {
        "missing": missing,
        "stored": _stored(race) if code == "null" else None,
    }
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    template = (
        files("ravine.test_functions").joinpath("templates/race_function.html").read_text("utf-8")
    )
    return (
        template.replace("/*TITLE*/", _escaped(race.problem.title))
        .replace("/*STYLE*/", page_style())
        .replace("/*DATA*/null", text.replace("<", "\\u003c"))
        .replace("/*CODE*/null", code)
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _code(race: FunctionRace) -> tuple[str, list[str]]:
    """Returns the JavaScript of function and update rules, and the names of those without."""
    problem, missing, source = race.problem, [], ""
    try:
        if problem.examples:
            columns = problem.examples.rows.shape[1]
            source = gradient_source(problem.examples.loss, columns=columns)
        else:
            source = gradient_source(problem.value)
    except NoJavaScript:
        missing.append(f"the function {problem.name}")
    rules = []
    for result in race.results:
        own = result.candidate.rule(result.lr)
        try:
            if own is None:
                raise NoJavaScript(result.candidate.label)
            rule = rule_source(own)
            times = float(own.param_groups[0]["lr"]) / result.lr if result.lr else 1.0
            rules.append(
                f"{{ step: {rule['step']}, state: {json.dumps(rule['state'])}, times: {times!r} }}"
            )
        except NoJavaScript:
            missing.append(result.candidate.label)
    if missing:
        return "null", missing
    listed = ",\n".join(rules)
    return f"{{ f: {source},\nrules: [\n{listed}] }}", []


def _data(
    race: FunctionRace, heights: HeightMap, convergence: tuple[ConvergenceRow, ...]
) -> dict[str, Any]:
    """Returns the data of the page; NaN and infinite numbers are None."""
    problem = race.problem
    examples = problem.examples
    return {
        "title": problem.title,
        "name": problem.name,
        "text": problem.text,
        "shows": problem.shows,
        "domain": problem.domain,
        "start": race.start,
        "minima": problem.minima,
        "lowest": race.lowest,
        "lowestIsKnown": problem.lowest is not None,
        "target": race.target,
        "steps": race.steps,
        "seed": race.seed,
        "search": str(race.budget),
        "tuned": race.budget.tune,
        "grid": {
            "n": len(heights.x),
            "values": [_short(v, 5) for v in heights.values.ravel().tolist()],
            "low": heights.low,
            "unit": heights.unit,
            "log": heights.logarithmic,
        },
        "rows": examples.rows.tolist() if examples else None,
        "batches": examples.batches(race.steps, seed=race.seed).tolist() if examples else None,
        "lanes": [
            _result_data(result, shade)
            for result, shade in zip(race.results, shades(race), strict=True)
        ],
        "rates": [_convergence_data(row) for row in convergence],
    }


def _result_data(result: CandidateResult, ink: str) -> dict[str, Any]:
    table = result.statistics
    low, high = table.interval
    return {
        "name": result.candidate.label,
        "colour": ink,
        "lr": result.lr,
        "settings": result.candidate.shown_settings(),
        "from": "given" if result.found is None else "searched",
        "edge": bool(result.found and result.found.at_edge),
        "x": [_short(v, 12) for v in result.path[:, 0].tolist()],
        "y": [_short(v, 12) for v in result.path[:, 1].tolist()],
        "loss": [_short(v, 9) for v in result.losses.tolist()],
        "curve": [
            [trial["lr"], round(score, 4)]
            for trial, score in (
                zip(result.found.trials, result.found.scores, strict=True) if result.found else ()
            )
        ],
        "table": {
            "starts": table.starts,
            "share": table.share,
            "interval": [low, high],
            "steps": [plain(v) for v in table.steps],
            "gaps": [shown(v, 2) for v in table.gaps],
            "diverged": table.diverged,
        },
    }


def _convergence_data(row: ConvergenceRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "lr": shown(row.lr, 4),
        "momentum": shown(row.momentum, 4),
        "predicted": f"{row.predicted:.5f}",
        "measured": f"{row.measured:.5f}",
        "error": f"{100 * row.error + 0.0:+.2f} %".replace("-0.00", "+0.00"),
        "law": "k·ρᵏ" if row.critical else "ρᵏ",
    }


def _stored(race: FunctionRace) -> dict[str, Any]:
    """Returns rollouts from a grid of starts, as many as the page can hold."""
    problem, count = race.problem, len(race.results)
    fits = _STORED_BYTES / (count * (race.steps + 1) * 26)
    side = max(2, min(7, int(math.sqrt(fits))))
    axes = [np.linspace(low, high, side + 2)[1:-1] for low, high in problem.domain]
    starts = torch.tensor(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2))
    starts = starts[torch.isfinite(problem.values(starts))]
    results = []
    for result in race.results:
        points = rollout(
            problem, result.candidate, [{"lr": result.lr}], starts, steps=race.steps, seed=race.seed
        )[:, 0]
        losses = problem.values(points).T.tolist()
        results.append(
            [
                {
                    "x": [_short(v, 5) for v in path[:, 0].tolist()],
                    "y": [_short(v, 5) for v in path[:, 1].tolist()],
                    "loss": [_short(v, 5) for v in loss],
                }
                for path, loss in zip(points.transpose(0, 1), losses, strict=True)
            ]
        )
    return {"starts": starts.tolist(), "lanes": results}


def _short(value: float, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
