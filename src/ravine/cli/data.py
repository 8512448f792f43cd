"""`ravine data`. Loads no torch: the first answer comes sooner than torch is loaded."""

import json as json_format
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.setting_flags import Json, Quiet, options_of
from ravine.core.lazy import lazy_module
from ravine.core.progress import Progress, no_progress
from ravine.data.location import refuse_missing
from ravine.data.settings import DataSettings

if TYPE_CHECKING:
    from ravine.data.collection import Collection
    from ravine.workflows import show_data as workflow
else:
    workflow = lazy_module("ravine.workflows.show_data", for_good=True)

_CLASSES = 12  # shown; --json has all
_EVERY = 2.0  # seconds between lines of progress


@options_of({"Data": DataSettings}, omit=("data",))
def data(
    data: Annotated[str, typer.Argument(help="Any source that train takes.")],
    *,
    seed: Annotated[int, typer.Option(help="Decides the split, as in training.")] = 0,
    sheet: Annotated[
        Path | None, typer.Option(help="The contact sheet, a PNG [DATA-contact-sheet.png].")
    ] = None,
    no_sheet: Annotated[bool, typer.Option("--no-sheet", help="Write no contact sheet.")] = False,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Show what is understood of labelled images, and audit them, without training.

    The contact sheet shows images as the network will see them, with their labels.

    Examples:

    - `ravine data photos/`

    - `ravine data images/ --labels train.csv --group-column patient`

    - `ravine data photos/ --json --no-sheet`
    """
    given = {name: value for name, value in settings.items() if value is not None}
    asked = DataSettings.of({"data": data, **given})
    refuse_missing(asked)
    progress = no_progress if quiet or json else _Lines().show
    collection = workflow.first_answer(asked, progress)
    found = workflow.found_row(collection, asked)
    if json:
        _print_row({"kind": "found", **found})
    elif not quiet:
        for line in _first_lines(collection, found):
            print(line, flush=True)
    path = None if no_sheet else sheet or _sheet_name(data)
    shown = workflow.audited(collection, asked, seed=seed, sheet=path, progress=progress)
    if json:
        _print_row({"kind": "audit", **shown.audit})
        return
    for text, warning in shown.lines:
        if text not in (line for line in _first_lines(collection, found)):
            print(f"{'warning: ' if warning else ''}{text}")


def _sheet_name(data: str) -> Path:
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(data).resolve().name)
    return Path(f"{name.strip('-.')[:80] or 'data'}-contact-sheet.png")


def _print_row(row: Mapping[str, Any]) -> None:
    print(json_format.dumps(row, ensure_ascii=False), flush=True)


def _first_lines(collection: "Collection", found: Mapping[str, Any]) -> list[str]:
    lines = []
    if collection.understood is not None:
        lines.append(collection.understood.line())
    lines.append(f"{found['images']:,} images, {len(found['classes']):,} classes")
    if found["groups"]:
        lines.append(f"{found['groups']:,} groups, each kept on one side of the split")
    shown = found["classes"][:_CLASSES]
    width = max(len(one["name"]) for one in shown)
    lines += [f"  {one['name']:{width}}  {one['images']:>7,}" for one in shown]
    if more := len(found["classes"]) - len(shown):
        lines.append(f"  and {more:,} more classes; --json names all")
    return lines


class _Lines:
    """Prints a line about slow work on standard error, every two seconds."""

    def __init__(self) -> None:
        self._printed_at = time.monotonic()

    @property
    def show(self) -> Progress:
        """The observer of progress."""
        return self._show

    def _show(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._printed_at >= _EVERY:
            self._printed_at = time.monotonic()
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)
