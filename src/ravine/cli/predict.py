"""`ravine predict`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.display import watching
from ravine.cli.options import AllowCodeOrModel, Device, Precision, Quiet
from ravine.cli.run_argument import TrainedArgument, existing_model
from ravine.core.errors import DataError
from ravine.core.lazy import lazy_module
from ravine.data.submission import read_sample, write_predictions, write_submission

if TYPE_CHECKING:
    from ravine.workflows import run as runs
else:
    runs = lazy_module("ravine.workflows.run")


def predict(
    run: TrainedArgument,
    images: Annotated[list[str], typer.Argument(help="Files, folders, or a CSV of file names.")],
    *,
    out: Annotated[Path, typer.Option(help="The CSV to write.")] = Path("predictions.csv"),
    like: Annotated[
        Path | None,
        typer.Option(help="A sample submission: its ids, order and columns are kept."),
    ] = None,
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
    """
    sample = read_sample(like) if like else None
    run = existing_model(run)
    with watching(quiet=quiet, json=False) as screen:
        found = runs.Run.load(run, allow_code=allow_code or ()).predict(
            images, tta=tta, device=device, precision=precision, progress=screen.progress
        )
    for name, reason in found.unreadable:
        print(f"ravine: left out {name}: {reason}", file=sys.stderr)
    if not found.names:
        raise DataError(f"none of {', '.join(images)} is a readable image; nothing written")
    if sample is None:
        write_predictions(out, found.names, found.classes, found.probabilities)
    else:
        summary = write_submission(out, sample, found.names, found.classes, found.probabilities)
        if not quiet:
            print(summary)
        print(f"{len(sample.ids):,} predictions: {out}")
        return
    print(f"{len(found.names):,} predictions: {out}")
