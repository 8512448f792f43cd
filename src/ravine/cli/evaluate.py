"""`ravine evaluate`."""

import json as json_format
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.display import evaluation_lines, watching
from ravine.cli.options import (
    AllowCodeOrModel,
    Device,
    ImageColumn,
    Json,
    LabelColumn,
    Precision,
    Quiet,
    Threshold,
)
from ravine.cli.run_argument import TrainedArgument, existing_model
from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    from ravine.workflows import run as runs
else:
    runs = lazy_module("ravine.workflows.run")


def evaluate(
    run: TrainedArgument,
    data: Annotated[str, typer.Argument(help="Labelled images: any source that train takes.")],
    *,
    labels: Annotated[str | None, typer.Option(help="CSV with the labels.")] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Leave out the images that were trained on.")
    ] = False,
    threshold: Threshold = None,
    tta: Annotated[bool, typer.Option("--tta", help="Also with test-time flip.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    allow_code: AllowCodeOrModel = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure a trained network on labelled images.

    Examples:

    - `ravine evaluate runs/latest photos/test`

    - `ravine evaluate runs/photos-1 photos --held-out`

    - `ravine evaluate runs/photos-1 images/ --labels test.csv --label-column diagnosis`

    - `ravine evaluate runs/photos-1 photos/test --allow-code mynets:small`
    """
    run = existing_model(run)
    with watching(quiet=quiet, json=json) as screen:
        found = runs.Run.load(run, allow_code=allow_code or ()).evaluate(
            data,
            labels=labels,
            image_column=image_column,
            label_column=label_column,
            held_out=held_out,
            threshold=threshold,
            tta=tta,
            device=device,
            precision=precision,
            progress=screen.progress,
        )
    if json:
        print(json_format.dumps(found, ensure_ascii=False))
        return
    for line in evaluation_lines(found, per_class=not quiet):
        print(line)
