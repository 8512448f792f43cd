"""The report of a cross-validated run: the result of all folds, and a line for each of them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.core.errors import RunError
from ravine.reports.evaluation_page import evaluation_parts
from ravine.reports.page_environment import page_environment
from ravine.runs.confusion import has_square_confusion
from ravine.runs.file_schemas import EVALUATION, fault_in, with_defaults
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json
from ravine.runs.run_state import read_state
from ravine.runs.score import measure_of, score_of
from ravine.runs.verdict import judge


def folds_page(run: Path) -> str:
    """Returns the report of a cross-validated run as HTML, however many of its folds have ended.

    Args:
        run: the folder, with fold-1 … fold-K in it.
    """
    folder = RunFolder(run)
    evaluation, recipe = _evaluation(folder), _recipe(folder)
    folds = [_fold(folder, number) for number in range(1, folder.folds + 1)]
    scores = [one["score"] for one in folds if one["score"] is not None]
    return (
        page_environment()
        .get_template("folds.html")
        .render(
            e=evaluation,
            name=run.resolve().name,
            folds=folds,
            spread=_spread(scores) if len(scores) == len(folds) else "",
            measure=measure_of(evaluation),
            test=evaluation.get("test"),
            recipe=recipe,
            broken=[one for one in folds if one["verdict"].kind in ("broken", "chance")],
            **evaluation_parts(run, evaluation, recipe),
        )
    )


def _evaluation(folder: RunFolder) -> dict[str, Any]:
    """Returns the evaluation of a folder as a template takes it; empty where there is none."""
    try:
        found = read_json(folder.evaluation) if folder.evaluation.is_file() else {}
    except RunError:
        return {}
    if not found or fault_in(found, EVALUATION) is not None or not has_square_confusion(found):
        return {}
    return with_defaults(found, EVALUATION)


def _fold(folder: RunFolder, number: int) -> dict[str, Any]:
    """Returns what the table says of a fold."""
    fold = folder.fold(number)
    evaluation = _evaluation(fold)
    try:
        findings: Sequence[Mapping[str, Any]] = read_findings(fold.findings)
    except RunError:
        findings = ()
    verdict = judge(fold.path, evaluation=evaluation, findings=findings, recipe=_recipe(fold))
    return {
        "number": number,
        "report": fold.report.relative_to(folder.path).as_posix() if fold.report.is_file() else "",
        "state": read_state(fold).kind if fold.recipe.is_file() else "not begun",
        "score": score_of(evaluation) if evaluation else None,
        "interval": evaluation.get("interval") or evaluation.get("mean_ap_interval"),
        "count": evaluation.get("count"),
        "loss": evaluation.get("loss"),
        "verdict": verdict,
    }


def _recipe(folder: RunFolder) -> Mapping[str, Any]:
    try:
        return read_recipe(folder.recipe)[0]
    except RunError:
        return {}


def _spread(scores: Sequence[float]) -> str:
    """Returns how far the folds differ, in a sentence."""
    mean, spread = 100 * statistics.fmean(scores), 100 * statistics.stdev(scores)
    return (
        f"Mean over folds {mean:.2f} %, standard deviation {spread:.2f} points, standard error "
        f"{spread / math.sqrt(len(scores)):.2f}: a lower bound, as folds share most of their "
        "training images."
    )
