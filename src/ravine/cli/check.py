"""`ravine check`."""

import json as json_format
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ravine.cli.checked_lines import checked_lines
from ravine.cli.display import watching
from ravine.cli.finding_lines import show_findings
from ravine.cli.options import Json, Quiet, data_argument, given, setting_options
from ravine.core.lazy import lazy_module
from ravine.data.location import refuse_missing
from ravine.findings.finding import Finding, Findings
from ravine.workflows.check_variants import variants

if TYPE_CHECKING:
    from ravine.workflows import check as workflow
else:
    workflow = lazy_module("ravine.workflows.check", for_good=True)


@setting_options
def check(
    data: Annotated[str | None, typer.Argument(help="Labelled images, or @fashion.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="The folder for the figure.")] = Path("check"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by name.")
    ] = None,
    labels_probe: Annotated[
        bool, typer.Option("--labels-probe", help="Ask whether labels belong to the images.")
    ] = False,
    learn: Annotated[
        bool, typer.Option(help="Overfit eight images, and test the learning rate.")
    ] = True,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Check data, network, loss and learning rate before training, and the variance by layer.

    Of --model, --activation, --norm and --init several may be given, with commas: each
    combination is built, its variances are predicted and measured on 64 images, and data, loss,
    gradients and learning rate are checked.

    Examples:

    - `ravine check photos/ --model wrn-40-4 --init xavier,he,lsuv --activation relu,tanh`

    - `ravine check @fashion --model resnet-cifar-20,alexnet`
    """
    chosen = given(settings, set_ or [])
    chosen = _checked(chosen, data_argument(data, chosen))
    began = time.monotonic()
    with watching(quiet=quiet, json=json) as screen:
        rows = workflow.compare_variance(
            None,
            chosen,
            out=out,
            labels_probe=labels_probe,
            learn=learn,
            progress=screen.progress,
            observer=screen.observe,
        )
    seconds = time.monotonic() - began
    if json:
        for row in rows:
            print(json_format.dumps({"kind": "network", **row}))
        return
    _show(rows, out)
    if not quiet:
        _show_reach(rows, seconds, labels_probe=labels_probe, learn=learn)


def _show_reach(rows: list[dict[str, Any]], seconds: float, **asked: bool) -> None:
    """Prints what was checked, and what could not be."""
    found = Findings(tuple(Finding.of_row(one) for row in rows for one in row["findings"]))
    print("\n".join(checked_lines(found, seconds, inside=True, has_rows=False, **asked)))


def _show(rows: list[dict[str, Any]], out: Path) -> None:
    """Prints the table, what was not predicted, the findings and the figure's path."""
    console = Console()
    console.print(_table(rows))
    for row in rows:
        if row["not_predicted"]:
            kinds = ", ".join(row["not_predicted"])
            console.print(f"{row['name']}: measured and not predicted: {kinds}", highlight=False)
    for row in rows:
        found = Findings(tuple(Finding.of_row(one) for one in row["findings"]))
        show_findings(found, json=False, name=row["name"])
    console.print(f"figure {out / 'variance.png'}", highlight=False)


def _checked(settings: dict[str, Any], data: str | None) -> dict[str, Any]:
    """Returns the settings with the data, once each network's are known to fit."""
    chosen = settings if data is None else {**settings, "data": data}
    for recipe in variants(chosen).values():
        recipe.check_options()
        refuse_missing(recipe)
    return chosen


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("network", title="variance from layer to layer: measured (theory)")
    for title in ("forward", "backward", "your lr", "lr by range test"):
        table.add_column(title, justify="right")
    for row in rows:
        factors = [row["factors"][direction] for direction in ("forward", "backward")]
        shown = [f"× {_shown(f['measured'])} ({_shown(f['predicted'])})" for f in factors]
        table.add_row(row["name"], *shown, *_learning_rates(row["rate"]))
    return table


def _learning_rates(rate: dict[str, float | None]) -> tuple[str, str]:
    suggested = rate["suggested"]
    return f"{rate['training']:.2g}", "?" if suggested is None else format(suggested, ".2g")


def _shown(factor: float | None) -> str:
    return "?" if factor is None else f"{factor:.3f}"
