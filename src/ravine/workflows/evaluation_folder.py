"""What `ravine evaluate --out` keeps: a page, evaluation.json, and a row for each image.

    OUT/  report.html · evaluation.json · predictions.csv · mistakes/

Shape letters: N images, K classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ravine.core.atomic import disk_error, write_folder_whole
from ravine.core.errors import RunError
from ravine.core.lazy import lazy_module
from ravine.data.csv_file import write_csv
from ravine.data.dataset import Dataset
from ravine.runs.folder import RunFolder
from ravine.runs.rows import write_json
from ravine.workflows.run_end import keep_mistakes

if TYPE_CHECKING:
    from ravine.reports import evaluation_page
else:
    evaluation_page = lazy_module("ravine.reports.evaluation_page")


def refuse_kept(out: Path) -> None:
    """Raises `RunError` if the folder exists."""
    if out.exists():
        raise RunError(f"{out} exists already; choose another folder with --out")


def keep_evaluation(
    out: Path,
    found: Mapping[str, Any],
    dataset: Dataset,
    index: np.ndarray,
    log_probabilities: np.ndarray,
    *,
    network: str,
) -> None:
    """Writes the folder, whole or not at all.

    Args:
        out: the new folder.
        found: the result, as evaluation.json holds it.
        dataset: of the images.
        index: (N,) int64, of those that were evaluated.
        log_probabilities: (N, K).
        network: the run that answered.

    Raises:
        RunError: it exists, or the disk does not allow it.
    """
    refuse_kept(out)

    def fill(part: Path) -> None:
        folder = RunFolder(part)
        mistakes = keep_mistakes(dataset, folder, index, log_probabilities)
        write_json(folder.evaluation, {**found, "network": network, "mistakes": mistakes})
        rows = _rows(dataset, index, log_probabilities)
        if dataset.several:
            rows = _label_rows(dataset, index, log_probabilities, found["labels"])
        write_csv(part / "predictions.csv", rows)
        evaluation_page.render_evaluation(part)

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(out, error) from error
    write_folder_whole(out, fill)


def _label_rows(
    dataset: Dataset,
    index: np.ndarray,
    log_probabilities: np.ndarray,
    labels: Sequence[Mapping[str, Any]],
) -> Iterator[Sequence[str]]:
    """Yields the header, and of each image its true and predicted labels and all probabilities."""
    yield ["image", "true", "predicted", *dataset.classes]
    thresholds = np.array([row["threshold"] for row in labels])
    for image, row in zip(index, np.exp(log_probabilities), strict=True):
        true, predicted = (
            "|".join(dataset.classes[int(k)] for k in np.flatnonzero(one))
            for one in (dataset.labels[image], row >= thresholds)
        )
        yield [dataset.names[image], true, predicted, *(f"{value:.6g}" for value in row)]


def _rows(
    dataset: Dataset, index: np.ndarray, log_probabilities: np.ndarray
) -> Iterator[Sequence[str]]:
    """Yields the header, and of each image its true and predicted class and all probabilities."""
    yield ["image", "true", "predicted", "probability", *dataset.classes]
    for image, row in zip(index, np.exp(log_probabilities), strict=True):
        best = int(row.argmax())
        true, predicted = dataset.classes[dataset.labels[image]], dataset.classes[best]
        shares = [f"{value:.6g}" for value in (row[best], *row)]
        yield [dataset.names[image], true, predicted, *shares]
