"""`ravine check`."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ravine.cli.display import watching
from ravine.cli.options import Json, Quiet, given, setting_options
from ravine.preflight import compare_variance


@setting_options
def check(
    data: Annotated[str | None, typer.Argument(help="Labelled images, or @fashion.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="The folder for the figure.")] = Path("check"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by name.")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Compare networks before training: how variance passes through their layers.

    Of --model, --activation, --norm and --init several may be given, with commas: each
    combination is built, and its variances are predicted and measured on 64 images.

    Examples:

    - `ravine check photos/ --model wrn-40-4 --init xavier,he,lsuv --activation relu,tanh`

    - `ravine check @fashion --model resnet-cifar-20,alexnet`
    """
    with watching(quiet=quiet, json=json) as screen:
        rows = compare_variance(
            data, given(settings, set_ or []), out=out, progress=screen.progress
        )
    if json:
        for row in rows:
            print(json_format.dumps({"kind": "network", **row}))
        return
    table = Table("network", title="variance from layer to layer: measured (theory)")
    for title in ("forward", "backward"):
        table.add_column(title, justify="right")
    for row in rows:
        factors = [row["factors"][direction] for direction in ("forward", "backward")]
        shown = [f"× {_shown(f['measured'])} ({_shown(f['predicted'])})" for f in factors]
        table.add_row(row["name"], *shown)
    console = Console()
    console.print(table)
    for row in rows:
        if row["not_predicted"]:
            kinds = ", ".join(row["not_predicted"])
            console.print(f"{row['name']}: measured and not predicted: {kinds}", highlight=False)
    console.print(f"figure {out / 'variance.png'}", highlight=False)


def _shown(factor: float | None) -> str:
    return "?" if factor is None else f"{factor:.3f}"
