"""`ravine evaluate`."""

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.display import watching
from ravine.cli.evaluation_lines import evaluation_lines
from ravine.cli.options import (
    AllowCodeOrModel,
    Device,
    Json,
    Precision,
    Quiet,
    Threshold,
    WeightsOf,
)
from ravine.cli.run_argument import NamedTrainedArgument, existing_model
from ravine.cli.setting_flags import options_of
from ravine.core.lazy import lazy_module
from ravine.data.reading_options import NOT_READ_AGAIN
from ravine.data.settings import DataSettings
from ravine.data.understanding import Understood

if TYPE_CHECKING:
    from ravine.workflows import run as runs
else:
    runs = lazy_module("ravine.workflows.run", for_good=True)


Out = Annotated[
    Path | None,
    typer.Option(help="A new folder to keep: a page, evaluation.json, predictions.csv."),
]


@options_of({"Reading": DataSettings}, omit=tuple(NOT_READ_AGAIN))
def evaluate(
    run: NamedTrainedArgument,
    data: Annotated[str, typer.Argument(help="Labelled images: any source that train takes.")],
    *,
    labels: Annotated[str | None, typer.Option(help="CSV with the labels.")] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Leave out the images that were trained on.")
    ] = False,
    threshold: Threshold = None,
    out: Out = None,
    weights_of: WeightsOf = "last",
    tta: Annotated[bool, typer.Option("--tta", help="Also with test-time flip.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    allow_code: AllowCodeOrModel = None,
    quiet: Quiet = False,
    json: Json = False,
    **reading: Any,
) -> None:
    """Measure a trained network on labelled images.

    They are read as the training's were, as far as those options fit.

    Examples:

    - `ravine evaluate runs/latest photos/test`

    - `ravine evaluate runs/photos-1 photos --held-out`

    - `ravine evaluate runs/latest photos/test --weights-of best --out results`

    - `ravine evaluate runs/photos-1 images/ --labels test.csv --label-column diagnosis`

    - `ravine evaluate runs/photos-1 photos/test --allow-code mynets:small`
    """
    run = existing_model(run)
    with watching(quiet=quiet, json=json) as screen:
        found = runs.Run.load(run, allow_code=allow_code or (), weights_of=weights_of).evaluate(
            data,
            labels=labels,
            held_out=held_out,
            threshold=threshold,
            tta=tta,
            out=out,
            device=device,
            precision=precision,
            progress=screen.progress,
            **reading,
        )
    for note in found["notes"]:
        print(f"ravine: {note}", file=sys.stderr)
    if json:
        print(json_format.dumps(found, ensure_ascii=False))
    else:
        _report(found, out, quiet=quiet)


def _report(found: dict[str, Any], out: Path | None, *, quiet: bool) -> None:
    """Prints how the images were read, the result, and where it is kept."""
    if found["read_as"] and not quiet:
        print(Understood(**found["read_as"]).line())
    for line in evaluation_lines(found, per_class=not quiet):
        print(line)
    if out is not None:
        print(f"kept {out}: report.html, evaluation.json, predictions.csv")
