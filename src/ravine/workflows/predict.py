"""`ravine predict`: the probabilities of images into a CSV, written as they come.

Memory stays flat: of N images and K classes never more than a batch of probabilities is held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, final

import numpy as np

from ravine.core.errors import DataError, SettingError
from ravine.core.progress import Progress, no_progress
from ravine.data.dataset import Unlabelled
from ravine.data.label_submission import Answers, LabelSetForm, label_set_form
from ravine.data.sample_submission import SampleSubmission, read_sample
from ravine.data.submission import write_form, write_label_sets, write_predictions
from ravine.data.submission_form import SubmissionForm, submission_form
from ravine.training.several_evaluation import Thresholds
from ravine.workflows.run import Run


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        count: rows.
        unreadable: name and reason of each file that is no readable image.
        answered_by_prior: ids without a readable image.
        interpretation: how the sample was interpreted, in a clause; "" without one.
    """

    count: int
    unreadable: Sequence[tuple[str, str]]
    answered_by_prior: Sequence[str] = ()
    interpretation: str = ""


def predict_file(
    path: str | Path,
    images: Sequence[str],
    *,
    out: Path,
    like: Path | None = None,
    positive: str | None = None,
    missing: str = "refuse",
    answers: Answers = "auto",
    threshold: float | None = None,
    image_column: str | None = None,
    tta: bool = False,
    device: str = "auto",
    precision: str = "auto",
    allow_code: str | Sequence[str] = (),
    progress: Progress = no_progress,
) -> Written:
    """Predicts images into a CSV, whole or not at all.

    Args:
        path: a run folder, or a model.safetensors.
        images: files, folders, tars or CSVs of file names.
        out: the CSV to write.
        like: a sample submission, whose ids, order and columns are kept.
        positive: the class whose probability the sample's one column takes; None to choose.
        missing: `refuse`, or `prior`: the training shares answer for an id without an image.
        answers: of several labels in columns: probabilities, or labels for 0 and 1.
        threshold: of every label, in [0, 1], where an image has several; by default each label's
            own.
        image_column: of a CSV of file names; by default that of the training.
        tta: mean over each image and its mirror image.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, float32 or bfloat16.
        allow_code: the `module:callable` that may be imported, where the network is your own.
        progress: receives the progress of slow work.

    Raises:
        SettingError: the threshold or `answers` has no effect.
        DataError: an image, an id or a column is missing, or the disk does not allow it.
        RunError: there is no network, or its weights are not finite.
    """
    sample = None if like is None else read_sample(like)
    run = Run.load(path, allow_code=allow_code)
    thresholds = run.thresholds(threshold)
    _refuse_answers(answers, thresholds)
    prior = run.training_shares() if missing == "prior" else None
    found = run.open_unlabelled(images, image_column=image_column, progress=progress)
    _refuse_none(found)

    def rows_of(index: np.ndarray) -> Iterator[np.ndarray]:
        return run.probabilities(
            found, index, tta=tta, device=device, precision=precision, progress=progress
        )

    classes = run.members[0].classes
    if sample is None:
        _write_plain(out, found, classes, rows_of(np.arange(len(found.names))), thresholds)
        return Written(count=len(found.names), unreadable=found.unreadable)
    asked: _FormOptions = {"positive": positive, "missing": prior is not None}
    if thresholds is not None:
        asked |= {"thresholds": thresholds.values, "answers": answers}
    form = _form(sample, found.names, classes, asked)
    write_form(out, sample, form, found.names, rows_of(form.wanted), prior=prior)
    return Written(
        count=len(sample.ids),
        unreadable=found.unreadable,
        answered_by_prior=form.without_image(sample.ids),
        interpretation=form.interpretation,
    )


class _FormOptions(TypedDict, total=False):
    """What a submission is made by; thresholds and answers of several labels alone."""

    positive: str | None
    missing: bool
    thresholds: np.ndarray
    answers: Answers


def _form(
    sample: SampleSubmission, names: Sequence[str], classes: Sequence[str], asked: _FormOptions
) -> SubmissionForm | LabelSetForm:
    positive, missing = asked["positive"], asked["missing"]
    if "thresholds" not in asked:
        return submission_form(sample, names, classes, positive=positive, missing=missing)
    return label_set_form(
        sample,
        names,
        classes,
        asked["thresholds"],
        answers=asked["answers"],
        positive=positive,
        missing=missing,
    )


def _write_plain(
    out: Path,
    found: Unlabelled,
    classes: Sequence[str],
    blocks: Iterator[np.ndarray],
    thresholds: Thresholds | None,
) -> None:
    """Writes predictions without a sample: of one class an image, or of several labels."""
    if thresholds is None:
        write_predictions(out, found.names, classes, blocks)
    else:
        write_label_sets(out, found.names, classes, blocks, thresholds.values)


def _refuse_answers(answers: Answers, thresholds: Thresholds | None) -> None:
    """Raises `SettingError` if 0 and 1 are asked of a network that answers with one class."""
    if answers != "auto" and thresholds is None:
        raise SettingError("answers has no effect: the network answers with one class; drop it")


def _refuse_none(found: Unlabelled) -> None:
    """Raises `DataError` if no image is readable."""
    if found.names:
        return
    name, reason = found.unreadable[0]
    raise DataError(
        f"none of {len(found.unreadable):,} files is a readable image; the first {name}: {reason}; "
        "nothing written"
    )
