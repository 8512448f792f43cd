"""`ravine train`."""

from typing import Annotated, Any

import typer

from ravine.cli.display import watching
from ravine.cli.options import AllowCode, Json, Quiet, data_argument, given, setting_options
from ravine.cli.result import show_result
from ravine.workflows import train as workflow


@setting_options
def train(
    data: Annotated[
        str | None,
        typer.Argument(help="Folder, CSV, .tar, IDX, CIFAR, .npz file, or @fashion (the sample)."),
    ] = None,
    *,
    out: Annotated[str | None, typer.Option(help="The run folder [runs/DATA-MODEL-N].")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe to start from: FILE.toml, fast or wrn-paper.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by name.")
    ] = None,
    allow_code: AllowCode = None,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a classifier on labelled images.

    Examples:

    - `ravine train photos/ --budget 10min`

    - `ravine train images/ --labels train.csv --model wrn-16-4 --optimizer nadam`

    - `ravine train @fashion --epochs 5 --out runs/first`

    - `ravine train --recipe runs/first/recipe.toml --seed 1`

    - `ravine train photos/ --model mynets:small`

    - `ravine train --recipe runs/photos-1/recipe.toml --allow-code mynets:small`
    """
    chosen = given(settings, set_ or [])
    images = data_argument(data, chosen)
    with watching(quiet=quiet, json=json) as screen:
        run = workflow.train(
            images,
            out=out,
            recipe=recipe,
            allow_code=allow_code or (),
            observers=[screen.observe],
            progress=screen.progress,
            show="none",
            **chosen,
        )
    show_result(run, json=json)
