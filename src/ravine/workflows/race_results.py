"""The numbers of a race, gathered from its run folders as plain values for results.json."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from ravine.core.wilson_interval import wilson_interval
from ravine.runs.links import is_own_file, refuse_link
from ravine.runs.recipe_file import read_recipe, write_recipe
from ravine.runs.rows import read_rows
from ravine.tournament.job_graph import Course, Outcome
from ravine.tournament.rungs import rungs
from ravine.tournament.statistics import median_time, standings, time_to, verdict
from ravine.tournament.trial_points import describe_space
from ravine.workflows.race_plan import Entry, RacePlan
from ravine.workflows.race_worker.job import LOSSES
from ravine.workflows.race_worker.local_jobs import Places, read_outcomes


def gather(
    entry: Entry, plan: RacePlan, places: Places, state: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns all that the report shows, and writes winner.toml."""
    course, outcomes = plan.course, read_outcomes(places)
    best = {name: course.best_trial(name, outcomes) for name in course.trials}
    finals = {name: _finals(course, name, outcomes) for name in course.trials}
    results = {
        name: {seed: _result(outcome) for seed, outcome in found.items()}
        for name, found in finals.items()
    }
    counts = [o.count for found in finals.values() for o in found.values() if o.count]
    table, comparisons = standings(results, resolution=1 / max(counts) if counts else 0.0)
    curves = {
        name: {seed: _curve(places.runs / course.seed_run(name, seed)) for seed in found}
        for name, found in finals.items()
    }
    target = _target(entry, best, course, outcomes)
    rows = []
    for standing in table:
        name = standing.name
        row = asdict(standing) | {"tied": list(standing.tied), "best_trial": best[name]}
        row |= {"folder": course.folders[name], "epochs": plan.epochs[name]}
        row |= _times(curves[name], target)
        row["settings"] = _own(course.trials[name][best[name] or 0])
        rows.append(row)
    winner = next((row["name"] for row in rows if row["results"]), None)
    if winner is not None:
        _write_winner(places, course.seed_run(winner, min(finals[winner])))
    return {
        "name": places.race.resolve().name,
        "verdict": verdict(table, comparisons),
        "closed": state.get("closed"),
        "elapsed": state.get("elapsed"),
        "target": target,
        "measured_on": _measured_on(finals),
        "table": rows,
        "comparisons": [asdict(c) | {"tied": c.tied} for c in comparisons],
        "trials": _trials(course, outcomes),
        "curves": curves,
        "fairness": _fairness(entry, plan),
        "saved": _saved(course, outcomes),
        "scheduling": _share_lost(state),
        "out": _out(outcomes),
        "recipe": _recipe_text(places),
    }


def _finals(course: Course, name: str, outcomes: Mapping[str, Outcome]) -> dict[int, Outcome]:
    found = {seed: outcomes.get(f"{course.seed_run(name, seed)}@1") for seed in course.seeds}
    return {s: o for s, o in found.items() if o is not None and o.status == "ended"}


def _result(outcome: Outcome) -> float:
    """Returns what is compared: the share of right answers at the end."""
    return float(outcome.final if outcome.final is not None else outcome.accuracy or 0.0)


def _target(
    entry: Entry, best: Mapping[str, int | None], course: Course, outcomes: Mapping[str, Outcome]
) -> dict[str, Any] | None:
    """Returns the accuracy of which the time is taken, and how it was found.

    It comes from the trials, before any run on a fresh seed: the median of the entrants' best, less
    what chance takes off one evaluation.
    """
    if entry.race.target is not None:
        return {"accuracy": entry.race.target, "why": "given"}
    found = []
    for name, trial in best.items():
        if trial is not None:
            accuracy = outcomes[f"{course.trial_run(name, trial)}@1"].accuracy
            if accuracy is not None:
                found.append(accuracy)
    if not found:
        return None
    count = 1000
    low = wilson_interval(round(median(found) * count), count)[0]
    why = "the median of the entrants' best trials, less the chance of 1,000 images"
    return {"accuracy": round(low, 3), "why": why}


def _times(curves: Mapping[int, Any], target: Mapping[str, Any] | None) -> dict[str, Any]:
    if target is None or not curves:
        return {"reached": 0, "steps_to_target": math.inf, "seconds_to_target": math.inf}
    steps, seconds = [], []
    for curve in curves.values():
        looks = curve["validation"]
        steps.append(time_to(target["accuracy"], [(r["step"], r["accuracy"]) for r in looks]))
        seconds.append(time_to(target["accuracy"], [(r["elapsed"], r["accuracy"]) for r in looks]))
    return {
        "reached": sum(math.isfinite(s) for s in steps),
        "steps_to_target": median_time(steps),
        "seconds_to_target": median_time(seconds),
    }


def _curve(path: Path) -> dict[str, Any]:
    """Returns training loss by step and validation by epoch, with the seconds of each."""
    training = []
    for row in read_rows(path / LOSSES):
        finite = [loss for loss in row["losses"] if loss is not None]
        if row["elapsed"] is not None and finite:
            step = row["first"] + len(row["losses"]) - 1
            training.append(
                {"step": step, "elapsed": row["elapsed"], "loss": math.fsum(finite) / len(finite)}
            )
    looks = [
        {"step": row["step"], "elapsed": row["elapsed"], "accuracy": row["accuracy"]}
        for row in read_rows(path / "history.jsonl")
        if row.get("kind") == "epoch" and row.get("accuracy") is not None
    ]
    return {"training": training, "validation": looks}


def _measured_on(finals: Mapping[str, Mapping[int, Outcome]]) -> str:
    for found in finals.values():
        for outcome in found.values():
            if outcome.final is not None:
                return f"{outcome.count:,} images that no trial was chosen by"
    return "validation images"


def _trials(course: Course, outcomes: Mapping[str, Outcome]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for name, trials in course.trials.items():
        rows = []
        for trial, settings in enumerate(trials):
            run = course.trial_run(name, trial)
            known = [outcomes[key] for key in outcomes if key.startswith(f"{run}@")]
            last = max(known, key=lambda o: (o.status not in ("paused",), o.step), default=None)
            row: dict[str, Any] = {"trial": trial, "run": run, "settings": _own(settings)}
            if last is not None:
                status = "stopped" if last.status == "paused" else last.status
                row |= {"status": status, "text": last.text, "step": last.step}
                row |= {"of": last.total_steps, "loss": last.loss, "accuracy": last.accuracy}
            else:
                row |= {"status": "not run", "text": "", "step": 0, "of": 0}
                row |= {"loss": None, "accuracy": None}
            rows.append(row)
        found[name] = rows
    return found


_OF_THE_RACE = ("threads", "keep_weights", "checkpoint_every", "monitor")
_SURROUNDINGS = ("seed", "epochs", "data", "labels", *_OF_THE_RACE)


def _own(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k not in _SURROUNDINGS}


def _fairness(entry: Entry, plan: RacePlan) -> list[str]:
    race = entry.race
    space = ", ".join(f"{k}: {v}" for k, v in describe_space(entry.fixed).items())
    found = [
        "The same initial weights, order of data and augmentation for all: functions of the seed.",
        f"The same number of trials ({race.trials}) at the same quasi-random points for all, the "
        f"first at the defaults; searched: {space or 'nothing'}. An entrant takes what it has.",
        f"The trial with the best validation accuracy runs again on {race.seeds} fresh seeds, the "
        "same for all; only these are compared, pair by pair and seed by seed.",
        f"Every run of an entrant is as long: {_lengths(plan)}.",
        f"Seconds were taken with {plan.slots} job{'s' if plan.slots > 1 else ''} at a time, "
        f"{plan.threads} thread{'s' if plan.threads > 1 else ''} each.",
    ]
    steps = rungs(race.trials, early=race.early)
    if steps:
        parts = ", ".join(f"{r.keep} after {100 * r.share:g} % of a run" for r in steps)
        found.append(
            f"Of each entrant's trials go on: {parts}, those with the least training loss."
        )
    return found


def _lengths(plan: RacePlan) -> str:
    if len(set(plan.epochs.values())) == 1:
        return f"{next(iter(plan.epochs.values())):g} epochs"
    return ", ".join(f"{name} {epochs:g} epochs" for name, epochs in plan.epochs.items())


def _saved(course: Course, outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    """Returns the steps that were taken and those of running every trial to its end."""
    taken = whole = 0.0
    for name, trials in course.trials.items():
        for trial in range(len(trials)):
            run = course.trial_run(name, trial)
            known = [o for key, o in outcomes.items() if key.startswith(f"{run}@")]
            taken += max((o.step for o in known), default=0)
            whole += max((o.total_steps for o in known), default=0)
    fresh = sum(o.step for key, o in outcomes.items() if "-seed-" in key)
    return {
        "search": 1 - taken / whole if whole else 0.0,
        "race": (whole - taken) / (whole + fresh) if whole else 0.0,
    }


def _share_lost(state: Mapping[str, Any]) -> float | None:
    held = float(state.get("held") or 0.0)
    return 1 - float(state["worked"]) / held if held else None


def _out(outcomes: Mapping[str, Outcome]) -> list[str]:
    return [
        f"{key.partition('@')[0]} is out at step {o.step}: {o.text}"
        for key, o in outcomes.items()
        if not o.sound
    ]


def _write_winner(places: Places, run: str) -> None:
    recipe = places.runs / run / "recipe.toml"
    refuse_link(recipe)
    settings, _ = read_recipe(recipe)
    for name in _OF_THE_RACE:
        settings.pop(name, None)
    write_recipe(places.race / "winner.toml", settings, None)


def _recipe_text(places: Places) -> str:
    path = places.race / "winner.toml"
    return path.read_text(encoding="utf-8") if is_own_file(places.race, path) else ""
