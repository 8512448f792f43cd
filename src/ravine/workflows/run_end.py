"""What a run writes at its end: the evaluation, the worst mistakes, the steps undone."""

import io
from typing import Any

import numpy as np
from PIL import Image

from ravine.core.atomic import make_folder, write_whole
from ravine.data.dataset import Dataset
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings
from ravine.runs.predictions_file import write_predictions
from ravine.runs.rows import rewrite_rows
from ravine.training.evaluation import full_evaluation, worst_mistakes
from ravine.training.state import TrainingState
from ravine.workflows.assemble import Assembly
from ravine.workflows.session import Session

MISTAKES = 24


def evaluate_run(
    assembly: Assembly, dataset: Dataset, folder: RunFolder, session: Session
) -> dict[str, Any] | None:
    """Evaluates on the test images, else on the validation images, and returns the result.

    A fold of a cross-validated run is evaluated on its validation images in any case. The pictures
    of the worst mistakes are written. Every rank calls this; None on those that are not rank 0, and
    where no images were held out.
    """
    # A fold's validation images are its test: no other network of the run answers for them.
    order = ("test", "validation") if assembly.recipe.fold is None else ("validation",)
    split = next((name for name in order if name in dataset.splits), None)
    if split is None:
        return None
    index = dataset.splits[split]
    labels = dataset.labels[index]
    plain, mirrored = assembly.evaluator.class_probabilities(
        assembly.state.evaluated, index, mirrored=assembly.recipe.tta
    )
    if not session.ranks.is_main:
        return None
    found = full_evaluation(plain, mirrored, labels, split=split, classes=dataset.classes)
    write_predictions(folder.predictions, dataset.digests[index], plain.argmax(1), labels)
    worst = worst_mistakes(plain, labels, MISTAKES)
    found["mistakes"] = keep_mistakes(dataset, folder, index[worst], plain[worst])
    found["ema"] = assembly.state.ema is not None
    return found


def keep_mistakes(
    dataset: Dataset, folder: RunFolder, index: np.ndarray, log_probabilities: np.ndarray
) -> list[dict[str, object]]:
    """Writes the pictures of misclassified images, and returns a row for each.

    Args:
        dataset: of the images.
        folder: to write into.
        index: (N,) int64 of the images.
        log_probabilities: (N, K).
    """
    make_folder(folder.mistakes)
    rows: list[dict[str, object]] = []
    for rank, (image, logs) in enumerate(zip(index, log_probabilities, strict=True)):
        name = f"{rank:02d}.png"
        pixels = np.asarray(dataset.images[image])
        buffer = io.BytesIO()
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
        write_whole(folder.mistakes / name, buffer.getvalue())
        rows.append(
            {
                "name": dataset.names[image],
                "true": dataset.classes[dataset.labels[image]],
                "predicted": dataset.classes[int(logs.argmax())],
                "probability": float(np.exp(logs.max())),
                "image": f"{folder.mistakes.name}/{name}",
            }
        )
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
