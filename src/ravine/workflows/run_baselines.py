"""What the pixels alone give: measured before step 1, compared with the network's result after."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ravine.core.wilson_interval import wilson_interval
from ravine.data.dataset import Dataset
from ravine.findings.baseline_detector import find_below_baseline, learns_over
from ravine.findings.finding import Finding
from ravine.runs.file_schemas import EVALUATION, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json
from ravine.tournament.proportions import paired_difference
from ravine.training.baselines import Baselines, measure_baselines
from ravine.training.budget import enough_budget
from ravine.training.plan import Plan
from ravine.workflows.recipe import Recipe


def evaluated_split(recipe: Recipe, dataset: Dataset) -> str | None:
    """Returns the split that the run is evaluated on at its end; None where nothing is held out."""
    # A fold's validation images are its test: no other network of the run answers for them.
    order = ("test", "validation") if recipe.fold is None else ("validation",)
    return next((name for name in order if name in dataset.splits), None)


def baselines_of(recipe: Recipe, dataset: Dataset) -> Baselines | None:
    """Returns the baselines of a run's images: the same for a run that goes on.

    None where images have several labels, or none was held out.
    """
    split = evaluated_split(recipe, dataset)
    if split is None or dataset.several:
        return None
    return measure_baselines(dataset, split=split, seed=recipe.seed)


def compared(
    baselines: Baselines, predicted: np.ndarray, labels: np.ndarray
) -> list[dict[str, Any]]:
    """Returns a row for each baseline, as evaluation.json keeps them.

    Args:
        baselines: of the split.
        predicted: (N,) classes that the network gives to all images of the split.
        labels: (N,) their classes.
    """
    truth = labels[baselines.rows]
    right = predicted[baselines.rows] == truth
    rows = []
    for name, answers in baselines.answers.items():
        its = answers == truth
        only = (int((its & ~right).sum()), int((right & ~its).sum()))
        row = baseline_row(name, int(its.sum()), len(its), only, baselines.trained_on)
        rows.append(row)
    return rows


def baseline_row(
    name: str, hits: int, count: int, only: tuple[int, int], trained_on: int
) -> dict[str, Any]:
    """Returns a row of evaluation.json.

    Args:
        name: of the baseline.
        hits: images that it classifies correctly.
        count: images that it was asked.
        only: images that only it, and that only the network classifies correctly.
        trained_on: images that it knows.
    """
    return {
        "name": name,
        "accuracy": hits / count,
        "interval": wilson_interval(hits, count),
        "count": count,
        "trained_on": trained_on,
        "only_baseline": only[0],
        "only_network": only[1],
        "p": paired_difference(*only, count).p,
    }


def find_below_pixels(
    folder: RunFolder, result: dict[str, Any] | None, history: Sequence[Mapping[str, Any]] = ()
) -> Iterator[Finding]:
    """Yields the finding of a run that is below a baseline.

    Args:
        folder: of the run.
        result: its evaluation; None to read that of a run that has ended.
        history: its rows.
    """
    if result is None:
        if not folder.evaluation.is_file():
            return
        result = read_json(folder.evaluation)
        if fault_in(result, EVALUATION) is not None:
            return
    settings, plan = read_recipe(folder.recipe)
    if rows := result.get("baselines"):
        followed = Plan.from_values(plan) if plan else None
        length = {name: settings.get(name) for name in ("epochs", "budget")}
        if followed and length["budget"]:
            length["enough"] = enough_budget(followed, length["budget"])
        steps = followed.end if followed else 0
        losses = [row.get("loss") for row in history if row.get("kind") == "step"]
        known = [math.nan if loss is None else float(loss) for loss in losses]
        shown = steps * int(settings.get("batch") or 1) / max(1, len(result["classes"]))
        learns = learns_over(known, shown=shown)
        yield from find_below_baseline(rows, steps=steps, length=length, learns=learns)
