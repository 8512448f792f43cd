"""`ravine predict`: the probabilities of images into a CSV, written as they come.

Memory stays flat: of N images and K classes never more than a batch of probabilities is held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress, no_progress
from ravine.data.dataset import Unlabelled
from ravine.data.label_submission import LabelSetForm, label_set_form
from ravine.data.sample_submission import SampleSubmission, read_sample
from ravine.data.submission import write_form, write_label_sets, write_predictions
from ravine.data.submission_form import SubmissionForm, sample_indices, submission_form
from ravine.training.several_evaluation import Thresholds
from ravine.workflows.predict_options import AS_THE_SAMPLE, FormOptions
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
        notes: how the images were found, in sentences.
    """

    count: int
    unreadable: Sequence[tuple[str, str]]
    answered_by_prior: Sequence[str] = ()
    interpretation: str = ""
    notes: Sequence[str] = ()


def predict_file(
    path: str | Path,
    images: Sequence[str],
    *,
    out: Path,
    like: Path | None = None,
    form: FormOptions = AS_THE_SAMPLE,
    threshold: float | None = None,
    image_column: str | None = None,
    weights_of: str = "last",
    images_folder: str | None = None,
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
        form: what the user says of the sample's form.
        threshold: of every label, in [0, 1], where an image has several; by default each label's
            own.
        image_column: of a CSV of file names; by default that of the training.
        weights_of: last, or best: those of the best evaluation on the validation images.
        images_folder: of the images that a CSV names; by default its own, or the training's.
        tta: mean over each image and its mirror image.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, float32 or bfloat16.
        allow_code: the `module:callable` that may be imported, where the network is your own.
        progress: receives the progress of slow work.

    Raises:
        SettingError: the threshold, or an option of the form, has no effect.
        DataError: an image, an id or a column is missing, or the disk does not allow it.
        RunError: there is no network, or its weights are not finite.
    """
    sample = None if like is None else read_sample(like)
    run = Run.load(path, allow_code=allow_code, weights_of=weights_of)
    thresholds = _thresholds(run, threshold, form)
    prior = run.training_shares() if form.missing == "prior" else None
    where = {"image_column": image_column, "images_folder": images_folder}
    found = _refuse_none(run.open_unlabelled(images, **where, progress=progress))

    def answers(index: np.ndarray) -> Iterator[np.ndarray]:
        return run.probabilities(
            found, index, tta=tta, device=device, precision=precision, progress=progress
        )

    classes = run.members[0].classes
    if sample is None:
        _write_plain(out, found, classes, answers(np.arange(len(found.names))), thresholds)
        return Written(count=len(found.names), unreadable=found.unreadable, notes=found.notes)
    chosen = _form(sample, found, classes, form, thresholds)
    write_form(out, sample, chosen, found.names, answers(chosen.wanted), prior=prior)
    return _written(sample, found, chosen)


def _form(
    sample: SampleSubmission,
    found: Unlabelled,
    classes: Sequence[str],
    form: FormOptions,
    thresholds: Thresholds | None,
) -> SubmissionForm | LabelSetForm:
    """Returns what a sample wants: of one class an image, or of several labels."""
    if thresholds is not None:
        indices = sample_indices(
            sample, found.names, missing=form.missing == "prior", by_row=found.by_row
        )
        return label_set_form(
            sample,
            indices,
            classes,
            thresholds.values,
            answers=form.answers,
            positive=form.positive,
        )
    return submission_form(
        sample,
        found.names,
        classes,
        positive=form.positive,
        top=form.top,
        missing=form.missing == "prior",
        by_row=found.by_row,
    )


def _written(
    sample: SampleSubmission, found: Unlabelled, form: SubmissionForm | LabelSetForm
) -> Written:
    return Written(
        count=len(sample.ids),
        unreadable=found.unreadable,
        answered_by_prior=form.without_image(sample.ids),
        interpretation=form.interpretation,
        notes=found.notes,
    )


def _thresholds(run: Run, given: float | None, form: FormOptions) -> Thresholds | None:
    """Returns the thresholds of several labels; None where an image has one class.

    Raises:
        SettingError: the one that is given, or an option of the form, has no effect.
    """
    found = run.thresholds(given)
    form.refuse_without_effect(several=found is not None)
    return found


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


def _refuse_none(found: Unlabelled) -> Unlabelled:
    """Returns the images; raises `DataError` if none is readable."""
    if found.names:
        return found
    name, reason = found.unreadable[0]
    raise DataError(
        f"none of {len(found.unreadable):,} files is a readable image; the first {name}: {reason}; "
        "nothing written"
    )
