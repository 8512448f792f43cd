"""The numbers of a race, gathered from its run folders as plain values for results.json."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from ravine.core.wilson_interval import wilson_interval
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_history
from ravine.runs.links import is_own_file, refuse_link
from ravine.runs.recipe_file import read_recipe, write_recipe
from ravine.runs.rows import read_json
from ravine.runs.score import measure_of, score_of
from ravine.tournament.job_graph import JobGraph, Outcome, run_of
from ravine.tournament.statistics import Standing, median_time, standings, time_to, verdict
from ravine.workflows.race_fairness import fairness
from ravine.workflows.race_plan import RacePlan, RaceSpec
from ravine.workflows.race_worker.loss_file import loss_curve
from ravine.workflows.race_worker.race_folder import RaceFolder, RaceState

_TARGET_IMAGES = 1000
_OF_THE_RACE = ("threads", "keep_weights", "checkpoint_every", "monitor", "keep_best")
_SHARED = ("seed", "epochs", "data", "labels", *_OF_THE_RACE)

Outcomes = Mapping[str, Outcome]
Curves = Mapping[str, Mapping[int, Any]]


def gather(spec: RaceSpec, plan: RacePlan, folder: RaceFolder, state: RaceState) -> dict[str, Any]:
    """Returns all numbers of the report, and writes winner.toml."""
    graph, outcomes = plan.graph, folder.read_outcomes()
    best = {name: graph.best_trial(name, outcomes) for name in graph.trials}
    ended = {name: _ended_on_seeds(graph, name, outcomes) for name in graph.trials}
    accuracies = _accuracies(graph, ended, outcomes)
    counts = [o.count for found in ended.values() for o in found.values() if o.count]
    table, comparisons = standings(accuracies, resolution=1 / max(counts) if counts else 0.0)
    curves = {
        name: {seed: _curves(folder.runs / graph.seed_run(name, seed)) for seed in found}
        for name, found in ended.items()
    }
    target = _target(spec, best, graph, outcomes)
    measure = _measure([folder.runs / graph.seed_run(n, s) for n in ended for s in ended[n]])
    rows = [_row(standing, plan, best, curves, target) for standing in table]
    winner = next((row["name"] for row in rows if row["results"]), None)
    if winner is not None:
        _write_winner(folder, graph.seed_run(winner, min(ended[winner])))
    return {
        "name": folder.path.resolve().name,
        "verdict": verdict(table, comparisons),
        "closed": state.closed,
        "elapsed": state.elapsed,
        "target": target,
        "measured_on": _measured_on(ended),
        "measure": measure,
        "table": rows,
        "comparisons": [asdict(c) | {"tied": c.tied} for c in comparisons],
        "trials": _trials(graph, outcomes),
        "curves": curves,
        "fairness": fairness(spec, plan, measure),
        "saved": _saved(graph, outcomes),
        "scheduling": state.overhead,
        "out": _failures(outcomes),
        "recipe": _recipe_text(folder),
    }


def _accuracies(
    graph: JobGraph, ended: Mapping[str, Mapping[int, Outcome]], outcomes: Outcomes
) -> dict[str, dict[int, float]]:
    """Returns the results that are compared: on the seeds that no candidate is still to run.

    A seed on which one broke stays, and counts as its worst result; one that the race had no time
    for counts for none. Where all seeds are of that kind, what has ended is compared as it is.
    """
    found = {
        name: {seed: _accuracy(outcome) for seed, outcome in runs.items()}
        for name, runs in ended.items()
    }
    decided = {
        seed
        for seed in graph.seeds
        if all(
            (outcome := graph.outcomes_on_seeds(name, outcomes).get(seed)) is not None
            and outcome.status != "paused"
            for name in graph.trials
            if found[name]
        )
    }
    kept = {n: {s: v for s, v in runs.items() if s in decided} for n, runs in found.items()}
    return kept if any(kept.values()) else found


def _ended_on_seeds(graph: JobGraph, name: str, outcomes: Outcomes) -> dict[int, Outcome]:
    on_seeds = graph.outcomes_on_seeds(name, outcomes)
    return {seed: outcome for seed, outcome in on_seeds.items() if outcome.status == "ended"}


def _accuracy(outcome: Outcome) -> float:
    """Returns the accuracy that is compared: of the final evaluation, or of validation."""
    return float(outcome.final if outcome.final is not None else outcome.accuracy or 0.0)


def _row(
    standing: Standing,
    plan: RacePlan,
    best: Mapping[str, int | None],
    curves: Curves,
    target: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Returns the row of a candidate in the table."""
    name, graph = standing.name, plan.graph
    return {
        **asdict(standing),
        "tied": list(standing.tied),
        "best_trial": best[name],
        "folder": graph.folders[name],
        "epochs": plan.epochs[name],
        **_times(curves[name], target),
        "settings": _own(graph.trials[name][best[name] or 0]),
    }


def _target(
    spec: RaceSpec, best: Mapping[str, int | None], graph: JobGraph, outcomes: Outcomes
) -> dict[str, Any] | None:
    """Returns the accuracy to which the time is measured, and its reason.

    It comes from the trials, before any run on a fresh seed: the lower end of the 95 % interval
    that 1,000 images would give the median of the candidates' best.
    """
    if spec.race.target is not None:
        return {"accuracy": spec.race.target, "why": "given"}
    last = [
        outcomes[graph.last_trial_job(name, trial).key].accuracy
        for name, trial in best.items()
        if trial is not None
    ]
    known = [accuracy for accuracy in last if accuracy is not None]
    if not known:
        return None
    low = wilson_interval(round(median(known) * _TARGET_IMAGES), _TARGET_IMAGES)[0]
    why = "the median of the candidates' best trials, less the sampling error of 1,000 images"
    return {"accuracy": round(low, 3), "why": why}


def _times(curves: Mapping[int, Any], target: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns on how many seeds the target was reached, and the median steps and seconds to it."""
    if target is None or not curves:
        return {"reached": 0, "steps_to_target": math.inf, "seconds_to_target": math.inf}
    steps, seconds = [], []
    for curve in curves.values():
        rows = curve["validation"]
        steps.append(time_to(target["accuracy"], [(r["step"], r["accuracy"]) for r in rows]))
        seconds.append(time_to(target["accuracy"], [(r["elapsed"], r["accuracy"]) for r in rows]))
    return {
        "reached": sum(math.isfinite(s) for s in steps),
        "steps_to_target": median_time(steps),
        "seconds_to_target": median_time(seconds),
    }


def _curves(run: Path) -> dict[str, Any]:
    """Returns training loss by step and validation accuracy by epoch, with the seconds of each."""
    validation = [
        {"step": row["step"], "elapsed": row.get("elapsed") or 0.0, "accuracy": score}
        for row in read_history(run / "history.jsonl")
        if row.get("kind") == "epoch" and (score := score_of(row)) is not None
    ]
    return {"training": loss_curve(run), "validation": validation}


def _measure(runs: Sequence[Path]) -> str:
    """Returns what candidates are compared by: accuracy, or mAP where images have several labels.

    The key `accuracy` holds it in either case.
    """
    files = [RunFolder(run).evaluation for run in runs]
    found = next((read_json(file) for file in files if file.is_file()), {})
    return measure_of(found)


def _measured_on(ended: Mapping[str, Mapping[int, Outcome]]) -> str:
    for found in ended.values():
        for outcome in found.values():
            if outcome.final is not None:
                return f"{outcome.count:,} images that no trial was chosen by"
    return "validation images"


def _trials(graph: JobGraph, outcomes: Outcomes) -> dict[str, list[dict[str, Any]]]:
    """Returns a row for every trial of each candidate."""
    return {
        name: [
            {
                "trial": trial,
                "run": graph.trial_run(name, trial),
                "settings": _own(settings),
                **_last(graph.outcomes_of_trial(name, trial, outcomes)),
            }
            for trial, settings in enumerate(trials)
        ]
        for name, trials in graph.trials.items()
    }


def _last(outcomes: list[Outcome]) -> dict[str, Any]:
    """Returns the state of a trial after its last job."""
    last = max(outcomes, key=lambda o: (o.status != "paused", o.step), default=None)
    if last is None:
        empty = {"status": "not run", "text": "", "step": 0, "of": 0}
        return {**empty, "loss": None, "accuracy": None}
    return {
        "status": "stopped" if last.status == "paused" else last.status,
        "text": last.text,
        "step": last.step,
        "of": last.total_steps,
        "loss": last.loss,
        "accuracy": last.accuracy,
    }


def _own(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k not in _SHARED}


def _saved(graph: JobGraph, outcomes: Outcomes) -> dict[str, float]:
    """Returns the shares of the steps that early stopping saved, of the search and of the race."""
    taken = whole = 0.0
    for name, trials in graph.trials.items():
        for trial in range(len(trials)):
            known = graph.outcomes_of_trial(name, trial, outcomes)
            taken += max((o.step for o in known), default=0)
            whole += max((o.total_steps for o in known), default=0)
    on_seeds = sum(
        o.step for name in graph.trials for o in graph.outcomes_on_seeds(name, outcomes).values()
    )
    return {
        "search": 1 - taken / whole if whole else 0.0,
        "race": (whole - taken) / (whole + on_seeds) if whole else 0.0,
    }


def _failures(outcomes: Outcomes) -> list[str]:
    return [
        f"{run_of(key)} is out at step {outcome.step}: {outcome.text}"
        for key, outcome in outcomes.items()
        if not outcome.sound
    ]


def _write_winner(folder: RaceFolder, run: str) -> None:
    recipe = folder.runs / run / "recipe.toml"
    refuse_link(recipe)
    settings, _ = read_recipe(recipe)
    for name in _OF_THE_RACE:
        settings.pop(name, None)
    write_recipe(folder.winner, settings, None)


def _recipe_text(folder: RaceFolder) -> str:
    path = folder.winner
    return path.read_text(encoding="utf-8") if is_own_file(folder.path, path) else ""
