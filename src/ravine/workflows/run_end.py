"""What a run writes at its end: the evaluation, the worst mistakes, the steps undone."""

from typing import Any

import numpy as np

from ravine.data.dataset import Dataset
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings
from ravine.runs.predictions_file import write_predictions
from ravine.runs.rows import rewrite_rows
from ravine.training.baselines import Baselines
from ravine.training.evaluation import MISTAKES, full_evaluation, wrong_answers
from ravine.training.label_thresholds import choose_thresholds
from ravine.training.several_evaluation import CHOSEN_HERE, Thresholds
from ravine.training.state import TrainingState
from ravine.workflows.assemble import Assembly
from ravine.workflows.mistakes import write_mistakes
from ravine.workflows.run_baselines import compared, evaluated_split
from ravine.workflows.session import Session


def thresholds_of(assembly: Assembly, dataset: Dataset) -> Thresholds | None:
    """Returns the thresholds of a run's labels; None where an image has one class.

    Unless the recipe gives one for all, they are chosen on the validation images. Every rank calls
    this.
    """
    if not dataset.several:
        return None
    given, count = assembly.recipe.threshold, len(dataset.classes)
    if given != "auto":
        return Thresholds(values=np.full(count, float(given)), source="given")
    index = dataset.splits.get(CHOSEN_HERE)
    if index is None:
        return Thresholds.default(count)
    logs, _ = assembly.evaluator.class_probabilities(assembly.state.evaluated, index)
    chosen = choose_thresholds(np.exp(logs.astype(np.float64)), dataset.labels[index])
    return Thresholds(values=chosen, source=CHOSEN_HERE)


def evaluate_run(
    assembly: Assembly,
    dataset: Dataset,
    folder: RunFolder,
    session: Session,
    thresholds: Thresholds | None = None,
    baselines: Baselines | None = None,
) -> dict[str, Any] | None:
    """Evaluates on the test images, else on the validation images, and returns the result.

    Beside it stand the baselines of the same images.

    A fold of a cross-validated run is evaluated on its validation images in any case. The pictures
    of the worst mistakes are written. Every rank calls this; None on those that are not rank 0, and
    where no images were held out.
    """
    split = evaluated_split(assembly.recipe, dataset)
    if split is None:
        return None
    index = dataset.splits[split]
    labels = dataset.labels[index]
    plain, mirrored = assembly.evaluator.class_probabilities(
        assembly.state.evaluated, index, mirrored=assembly.recipe.tta
    )
    if not session.ranks.is_main:
        return None
    found = full_evaluation(
        plain,
        mirrored,
        labels,
        split=split,
        classes=dataset.classes,
        thresholds=thresholds,
        chosen_here=thresholds is not None and thresholds.source == split,
    )
    if not dataset.several:
        write_predictions(folder.predictions, dataset.digests[index], plain.argmax(1), labels)
    if baselines is not None:
        found["baselines"] = compared(baselines, plain.argmax(1), labels)
    found["mistakes"] = keep_mistakes(dataset, folder, index, plain)
    found["ema"] = assembly.state.ema is not None
    return found


def keep_mistakes(
    dataset: Dataset, folder: RunFolder, index: np.ndarray, log_probabilities: np.ndarray
) -> list[dict[str, object]]:
    """Writes the pictures of the most confident errors, and returns a row for each.

    Args:
        dataset: of the images.
        folder: to write into.
        index: (N,) int64 in the data set, of the images evaluated.
        log_probabilities: (N, K).
    """
    worst = wrong_answers(log_probabilities, dataset.labels[index], MISTAKES)
    rows = write_mistakes(dataset, folder, index, worst)
    folder.mistakes_so_far.unlink(missing_ok=True)
    return rows


def report_undone_steps(state: TrainingState, folder: RunFolder, session: Session) -> None:
    """Writes a finding about the steps that were undone, if there were any."""
    transaction = state.transaction
    skipped = int(transaction.skipped)
    if not skipped:
        return
    step, index = (int(value) for value in transaction.first_skipped)
    layer = transaction.name(index) if index >= 0 else None
    where = f"in the gradient of {layer}" if layer else "in the loss"
    text = f"{skipped} of {state.step} steps were not finite and were undone; first at step "
    text += f"{step + 1}, {where}"
    cure = "lower --lr, or limit the gradients with --clip 1"
    row = {
        "severity": "warning",
        "code": "not-finite",
        "step": step + 1,
        "layer": layer,
        "text": text,
        "cause": "a loss or gradient that is not finite",
        "cure": cure,
    }
    # A run that was killed right here has the row already.
    others = [one for one in read_findings(folder.findings) if one.get("text") != text]
    rewrite_rows(folder.findings, [*others, row])
    session.notify(f"{text}; {cure}", warning=True)
