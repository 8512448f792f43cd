"""`ravine predict`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.display import watching
from ravine.cli.options import (
    AllowCodeOrModel,
    Device,
    ImageColumn,
    ImagesFolder,
    Precision,
    Quiet,
    Threshold,
    WeightsOf,
)
from ravine.cli.run_argument import NamedTrainedArgument, existing_model
from ravine.core.lazy import lazy_module
from ravine.workflows.predict_options import FormOptions

if TYPE_CHECKING:
    from ravine.workflows import predict as workflow
else:
    workflow = lazy_module("ravine.workflows.predict", for_good=True)

_NAMED = 20
Like = Annotated[
    Path | None, typer.Option(help="A sample submission: its ids, order and columns are kept.")
]
Positive = Annotated[
    str | None,
    typer.Option(metavar="CLASS", help="With --like: one column takes its probability."),
]
Top = Annotated[
    int | None,
    typer.Option(metavar="N", help="With --like: the N likeliest classes, separated by blanks."),
]
Missing = Annotated[
    str, typer.Option(help="With --like, an id without a readable image: refuse or prior.")
]
Answers = Annotated[
    str,
    typer.Option(
        metavar="auto|probabilities|labels",
        help="With --like, of several labels in columns: probabilities, or labels for 0 and 1.",
    ),
]


def predict(
    run: NamedTrainedArgument,
    images: Annotated[list[str], typer.Argument(help="Files, folders, or a CSV of file names.")],
    *,
    out: Annotated[Path, typer.Option(help="The CSV to write.")] = Path("predictions.csv"),
    like: Like = None,
    positive: Positive = None,
    top: Top = None,
    missing: Missing = "refuse",
    answers: Answers = "auto",
    threshold: Threshold = None,
    image_column: ImageColumn = None,
    weights_of: WeightsOf = "last",
    images_folder: ImagesFolder = None,
    tta: Annotated[bool, typer.Option("--tta", help="Mean with the mirror images.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    allow_code: AllowCodeOrModel = None,
    quiet: Quiet = False,
) -> None:
    """Predict the classes of images into a CSV.

    Examples:

    - `ravine predict runs/latest new/ --out predictions.csv`

    - `ravine predict runs/photos-1 new/ --allow-code mynets:small`

    - `ravine predict RUN test_images/ --like sample_submission.csv --out submission.csv`

    - `ravine predict RUN test_images/ --like sample_submission.csv --positive dog`
    """
    form = _form(like, positive=positive, top=top, missing=missing, answers=answers)
    run = existing_model(run)
    with watching(quiet=quiet, json=False) as screen:
        done = workflow.predict_file(
            run,
            images,
            out=out,
            like=like,
            form=form,
            threshold=threshold,
            image_column=image_column,
            weights_of=weights_of,
            images_folder=images_folder,
            tta=tta,
            device=device,
            precision=precision,
            allow_code=allow_code or (),
            progress=screen.progress,
        )
    _report(done, out, quiet=quiet)


def _form(like: Path | None, **options: Any) -> FormOptions:
    form = FormOptions(**options)
    form.check(like)
    return form


def _report(done: "workflow.Written", out: Path, *, quiet: bool) -> None:
    """Prints how the images were found, what was left out, how a sample was read, and the file."""
    for note in done.notes:
        print(f"ravine: {note}", file=sys.stderr)
    for name, reason in done.unreadable:
        print(f"ravine: left out {name}: {reason}", file=sys.stderr)
    for name in done.answered_by_prior[:_NAMED]:
        print(f"ravine: {name}: no readable image; the training shares answer", file=sys.stderr)
    more = len(done.answered_by_prior) - _NAMED
    if more > 0:
        print(f"ravine: and {more:,} more without a readable image", file=sys.stderr)
    if done.interpretation and not quiet:
        print(f"the sample's columns were read as {done.interpretation}")
    print(f"{done.count:,} predictions: {out}")
