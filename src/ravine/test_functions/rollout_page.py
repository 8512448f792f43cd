"""One HTML file of a race on a function: opens offline, plays, and races from any start.

New trajectories are computed in the browser by JavaScript that is made from the Python that
ran (`javascript.py`); the page checks on opening that the two agree. What has no JavaScript is
run beforehand from a grid of starts, and a click takes the nearest of them.
"""

import json
import math
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from ravine.runs.rows import plain
from ravine.test_functions.function_race import FunctionRace, Lane
from ravine.test_functions.height_map import Relief, colour, relief, shown
from ravine.test_functions.javascript import NoJavaScript, gradient_source, rule_source
from ravine.test_functions.quadratic import RateRow
from ravine.test_functions.rollout import walk

_STORED_BYTES = 1_800_000  # of the page's three million


def function_page(race: FunctionRace, rates: tuple[RateRow, ...] = ()) -> str:
    """Returns the page.

    Args:
        race: what happened.
        rates: measured rates beside the theory, of a quadratic.
    """
    ground = relief(race)
    code, missing = _code(race)
    data = _data(race, ground, rates) | {
        "missing": missing,
        "stored": _stored(race) if code == "null" else None,
    }
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    template = (
        files("ravine.test_functions").joinpath("templates/race_function.html").read_text("utf-8")
    )
    return (
        template.replace("/*TITLE*/", _escaped(race.scene.title))
        .replace("/*DATA*/null", text.replace("<", "\\u003c"))
        .replace("/*CODE*/null", code)
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _code(race: FunctionRace) -> tuple[str, list[str]]:
    """Returns the JavaScript of function and rules, and what has none."""
    scene, missing, source = race.scene, [], ""
    try:
        if scene.examples:
            columns = scene.examples.rows.shape[1]
            source = gradient_source(scene.examples.loss, columns=columns)
        else:
            source = gradient_source(scene.value)
    except NoJavaScript:
        missing.append(f"the function {scene.name}")
    rules = []
    for lane in race.lanes:
        own = lane.racer.rule(lane.lr)
        try:
            if own is None:
                raise NoJavaScript(lane.racer.label)
            rule = rule_source(own)
            times = float(own.param_groups[0]["lr"]) / lane.lr if lane.lr else 1.0
            rules.append(
                f"{{ step: {rule['step']}, state: {json.dumps(rule['state'])}, times: {times!r} }}"
            )
        except NoJavaScript:
            missing.append(lane.racer.label)
    if missing:
        return "null", missing
    listed = ",\n".join(rules)
    return f"{{ f: {source},\nrules: [\n{listed}] }}", []


def _data(race: FunctionRace, ground: Relief, rates: tuple[RateRow, ...]) -> dict[str, Any]:
    scene = race.scene
    examples = scene.examples
    return {
        "title": scene.title,
        "name": scene.name,
        "text": scene.text,
        "shows": scene.shows,
        "domain": scene.domain,
        "start": race.start,
        "minima": scene.minima,
        "lowest": race.lowest,
        "lowestIsKnown": scene.lowest is not None,
        "target": race.target,
        "steps": race.steps,
        "seed": race.seed,
        "search": str(race.budget),
        "tuned": race.budget.tune,
        "grid": {
            "n": len(ground.x),
            "values": [_short(v, 5) for v in ground.values.ravel().tolist()],
            "low": ground.low,
            "unit": ground.unit,
            "log": ground.logarithmic,
        },
        "rows": examples.rows.tolist() if examples else None,
        "batches": examples.batches(race.steps, seed=race.seed).tolist() if examples else None,
        "lanes": [_lane(lane, colour(index)) for index, lane in enumerate(race.lanes)],
        "rates": [_rate(row) for row in rates],
    }


def _lane(lane: Lane, ink: str) -> dict[str, Any]:
    table = lane.table
    low, high = table.interval
    return {
        "name": lane.racer.label,
        "colour": ink,
        "lr": lane.lr,
        "settings": lane.racer.shown_settings(),
        "from": "given" if lane.found is None else "searched",
        "edge": bool(lane.found and lane.found.at_edge),
        "x": [_short(v, 12) for v in lane.path[:, 0].tolist()],
        "y": [_short(v, 12) for v in lane.path[:, 1].tolist()],
        "loss": [_short(v, 9) for v in lane.losses.tolist()],
        "curve": [
            [trial["lr"], round(score, 4)]
            for trial, score in (
                zip(lane.found.trials, lane.found.scores, strict=True) if lane.found else ()
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


def _rate(row: RateRow) -> dict[str, Any]:
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
    """Returns runs from a grid of starts, as many as the page can hold."""
    scene, count = race.scene, len(race.lanes)
    fits = _STORED_BYTES / (count * (race.steps + 1) * 26)
    side = max(2, min(7, int(math.sqrt(fits))))
    axes = [np.linspace(low, high, side + 2)[1:-1] for low, high in scene.domain]
    starts = torch.tensor(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2))
    starts = starts[torch.isfinite(scene.values(starts))]
    lanes = []
    for lane in race.lanes:
        points = walk(
            scene, lane.racer, [{"lr": lane.lr}], starts, steps=race.steps, seed=race.seed
        )[:, 0]
        losses = scene.values(points).T.tolist()
        lanes.append(
            [
                {
                    "x": [_short(v, 5) for v in path[:, 0].tolist()],
                    "y": [_short(v, 5) for v in path[:, 1].tolist()],
                    "loss": [_short(v, 5) for v in loss],
                }
                for path, loss in zip(points.transpose(0, 1), losses, strict=True)
            ]
        )
    return {"starts": starts.tolist(), "lanes": lanes}


def _short(value: float, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
