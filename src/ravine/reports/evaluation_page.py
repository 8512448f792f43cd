"""What a page says of an evaluation, and the page of an evaluation on its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ravine.core.atomic import write_whole
from ravine.core.errors import RunError
from ravine.reports.baseline_text import baseline_text
from ravine.reports.class_tables import class_rows, confused_pairs
from ravine.reports.confusion_picture import confusion_picture
from ravine.reports.curve_figures import reliability
from ravine.reports.page_environment import page_environment
from ravine.reports.run_pictures import mistake_pictures
from ravine.runs.confusion import has_square_confusion
from ravine.runs.file_schemas import EVALUATION, fault_in, with_defaults
from ravine.runs.folder import RunFolder
from ravine.runs.rows import read_json
from ravine.runs.verdict import chance_of

_MATRIX_UP_TO = 25  # classes; of more the matrix is a picture
_CALIBRATED = 0.03  # expected calibration error up to which a network is called calibrated
_SOFTENING = ("label_smoothing", "mixup", "cutmix")  # settings that make targets less certain
_PAIRS, _MORE_PAIRS = 10, 25


def render_evaluation(path: Path) -> Path:
    """Writes report.html into the folder of an evaluation, and returns its path.

    Args:
        path: a folder with evaluation.json, as `ravine evaluate --out` writes it.

    Raises:
        RunError: evaluation.json does not hold what it should, or the disk does not allow it.
    """
    folder = RunFolder(path)
    evaluation = read_json(folder.evaluation)
    if (fault := fault_in(evaluation, EVALUATION)) is not None:
        raise RunError(f"{folder.evaluation} does not hold what it should ({fault})")
    evaluation = with_defaults(evaluation, EVALUATION)
    if not has_square_confusion(evaluation):
        raise RunError(f"{folder.evaluation} does not hold what it should (confusion)")
    parts = evaluation_parts(path, evaluation)
    text = page_environment().get_template("evaluation.html").render(e=evaluation, **parts)
    write_whole(folder.report, text.encode())
    return folder.report


def evaluation_parts(
    run: Path, evaluation: dict[str, Any], recipe: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns tables, figures and pictures of an evaluation for a template.

    Args:
        run: the folder, with the pictures of mistakes.
        evaluation: as evaluation.json holds it, its confusion written out; may be empty.
        recipe: what the network was trained by, where that is known.
    """
    calibration = evaluation.get("calibration")
    return {
        "chance": chance_of(evaluation),
        "baselines": baseline_text(evaluation.get("baselines") or [], evaluation.get("count", 0)),
        "mistakes": mistake_pictures(run, evaluation.get("mistakes", [])),
        "reliability": Markup(reliability(calibration)) if calibration else None,
        "calibration_line": _calibration_line(evaluation, recipe or {}) if calibration else "",
        **_tables(evaluation),
    }


def _calibration_line(evaluation: dict[str, Any], recipe: Mapping[str, Any]) -> str:
    """Returns whether the network is as confident as it is accurate, in a sentence."""
    found = evaluation["calibration"]
    sums = (n * c for n, c in zip(found["count"], found["confidence"], strict=True) if n)
    gap = sum(sums) / max(1, sum(found["count"])) - evaluation["accuracy"]
    points = f"{100 * abs(gap):.1f} points"
    if found["ece"] <= _CALIBRATED:
        return f"Yes: its confidence is {points} from its accuracy."
    if gap > 0:
        return f"No: {points} more confident than accurate."
    softened = [name for name in _SOFTENING if recipe.get(name)]
    names = " and ".join(name.replace("_", " ") for name in softened)
    cause = f", as {names} {'makes' if len(softened) == 1 else 'make'} it" if softened else ""
    return f"No: {points} less confident than accurate{cause}."


def _tables(evaluation: dict[str, Any]) -> dict[str, Any]:
    none: dict[str, Any] = {"classes": [], "pairs": [], "matrix": None, "confusion_image": None}
    if not evaluation or "mean_ap" in evaluation:
        return {**none, "labels": evaluation.get("labels", [])}
    rows = evaluation["confusion"]
    small = len(evaluation["classes"]) <= _MATRIX_UP_TO
    shares = [[count / max(1, sum(row)) for count in row] for row in rows]
    return {
        "labels": [],
        "classes": class_rows(evaluation),
        "pairs": confused_pairs(evaluation, _PAIRS if small else _MORE_PAIRS),
        "matrix": list(zip(evaluation["classes"], rows, shares, strict=True)) if small else None,
        "confusion_image": None if small else confusion_picture(rows),
    }
