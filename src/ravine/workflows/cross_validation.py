"""A cross-validated run: a folder with a run for each fold, and one result for all of them.

    RUN/recipe.toml        settings of all folds: `folds`, no `fold`
    RUN/environment.json   the fingerprint of the images
    RUN/fold-1 … fold-K    runs like any other, each with another part held out for validation
    RUN/evaluation.json    each image by the network that was not trained on it; and the test
    RUN/report.html        the result of all folds, and a line with a link for each

Whoever trains the folds passes in how: `train.py` all of them, `resume.py` those that are missing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.core.errors import RunError, SettingError
from ravine.core.ranks import Ranks
from ravine.core.wilson_interval import wilson_interval
from ravine.runs.confusion import dense_confusion, packed_confusion
from ravine.runs.folder import RunFolder, create_run_folder
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import read_json, write_json
from ravine.training.stop import Interrupted
from ravine.weights.trained_weights import TrainedWeights, save_trained
from ravine.workflows.data_paths import paths_of
from ravine.workflows.pooled_labels import pooled_labels
from ravine.workflows.recipe import Recipe
from ravine.workflows.run_baselines import baseline_row

TrainFold = Callable[[RunFolder, Recipe], None]
"""Trains one fold in its folder to the end, or goes on with it."""


def create_folds(
    path: Path, recipe: Recipe, *, ranks: Ranks, trained: TrainedWeights | None = None
) -> RunFolder:
    """Makes the folder of a cross-validated run, with its recipe and the weights it starts from.

    Raises:
        SettingError: several processes train together.
        RunError: it exists, or the disk does not allow it.
    """
    if ranks.size > 1:
        raise SettingError(
            "--folds trains in one process; start it without torchrun, or each fold alone: "
            f"--folds {recipe.folds} --fold 1"
        )

    def fill(new: RunFolder) -> None:
        write_recipe(new.recipe, recipe.model_dump(exclude_unset=True), None)
        write_json(new.environment, {"paths": paths_of(recipe)})
        if trained is not None:
            save_trained(new.source_weights, trained)

    return create_run_folder(path, fill)


def fold_recipe(recipe: Recipe, number: int) -> Recipe:
    """Returns the recipe of one fold, counted from 1: its share of the budget."""
    assert recipe.folds is not None
    budget = None if recipe.budget is None else recipe.budget / recipe.folds
    return recipe.with_(fold=number, budget=budget)


def train_folds(folder: RunFolder, recipe: Recipe, train_fold: TrainFold) -> None:
    """Trains the folds that have not ended, one after another.

    Raises:
        RunError: a fold was left without validation images, or another process trains the run.
        Interrupted: a stop signal; a checkpoint is saved.
    """
    assert recipe.folds is not None
    for number in range(1, recipe.folds + 1):
        fold = folder.fold(number)
        if fold.has_ended:
            continue
        try:
            train_fold(fold, fold_recipe(recipe, number))
        except Interrupted as stopped:
            stopped.path = folder.path
            raise
        if not fold.evaluation.is_file():
            raise RunError(
                f"{fold.path}: all its validation images are also trained on, in other groups; "
                "remove the doubled images, or take fewer --folds"
            )


def check_same_images(folder: RunFolder, fingerprint: str) -> None:
    """Keeps the fingerprint of a cross-validated run's images, or compares it with the one kept.

    Raises:
        RunError: the folds that are trained already had other images.
    """
    facts = read_json(folder.environment)
    before = facts.setdefault("images_fingerprint", fingerprint)
    if before != fingerprint:
        raise RunError(
            f"{folder.path}: the data is not what its first folds had; put the old images back, "
            f"or begin anew: ravine train --recipe {folder.recipe}"
        )
    write_json(folder.environment, facts)


def pooled_evaluation(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the evaluation of all images, each by the network that was not trained on it.

    Args:
        folds: evaluation.json of each fold.
    """
    if "mean_ap" in folds[0]:
        return pooled_labels(folds)
    count = sum(int(one["count"]) for one in folds)
    tables = [dense_confusion(one["confusion"]) for one in folds]
    hits = sum(int(table.trace()) for table in tables)
    losses = [one["loss"] for one in folds]
    mean = None
    if None not in losses:
        mean = sum(one["loss"] * one["count"] for one in folds) / count
    return {
        "split": f"{len(folds)} folds",
        "count": count,
        "accuracy": hits / count,
        "interval": wilson_interval(hits, count),
        "loss": mean,
        "classes": list(folds[0]["classes"]),
        "confusion": packed_confusion(sum(tables[1:], tables[0])),
        "calibration": _pooled_calibration([one["calibration"] for one in folds]),
        "tta": _pooled_accuracy(folds, "tta"),
        "top5": _pooled_accuracy(folds, "top5"),
        "baselines": _pooled_baselines(folds),
        "folds": [
            {name: one[name] for name in ("accuracy", "interval", "count", "loss")} for one in folds
        ],
    }


def _pooled_accuracy(folds: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    """Returns another accuracy of all images with its interval; None where a fold has none."""
    if not all(one.get(name) for one in folds):
        return None
    count = sum(int(one["count"]) for one in folds)
    hits = round(sum(one[name]["accuracy"] * one["count"] for one in folds))
    return {"accuracy": hits / count, "interval": wilson_interval(hits, count)}


def _pooled_baselines(folds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the baselines of all folds together; none where a fold of before has none."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in (row for one in folds for row in one.get("baselines") or ()):
        by_name.setdefault(row["name"], []).append(row)
    found = []
    for name, rows in by_name.items():
        if len(rows) == len(folds):
            count = sum(row["count"] for row in rows)
            hits = round(sum(row["accuracy"] * row["count"] for row in rows))
            only = [sum(row[key] for row in rows) for key in ("only_baseline", "only_network")]
            known = min(row["trained_on"] for row in rows)
            found.append(baseline_row(name, hits, count, (only[0], only[1]), known))
    return found


def _pooled_calibration(folds: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Returns the calibration of all images, from that of each fold in the same bins."""
    known = [one for one in folds if one is not None]
    if len(known) < len(folds):
        return None
    bins = range(len(known[0]["count"]))
    counts = [sum(one["count"][k] for one in known) for k in bins]

    def mean(name: str) -> list[float | None]:
        sums = [math.fsum((one[name][k] or 0.0) * one["count"][k] for one in known) for k in bins]
        return [s / n if n else None for s, n in zip(sums, counts, strict=True)]

    confidence, accuracy = mean("confidence"), mean("accuracy")
    gaps = (abs((a or 0.0) - (c or 0.0)) for a, c in zip(accuracy, confidence, strict=True))
    error = math.fsum(gap * n for gap, n in zip(gaps, counts, strict=True)) / sum(counts)
    return {
        "edges": list(known[0]["edges"]),
        "count": counts,
        "confidence": confidence,
        "accuracy": accuracy,
        "ece": error,
    }
