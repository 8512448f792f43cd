"""`ravine runs`."""

import json as json_format
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from ravine.cli.options import Json
from ravine.runs.folder import RUNS
from ravine.runs.rows import plain
from ravine.runs.run_list import RunEntry, list_runs
from ravine.workflows.run_columns import shown_entry, sorted_entries

_GAP = "  "


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = RUNS,
    *,
    sort: Annotated[str, typer.Option(help="newest, accuracy, name or model.")] = "newest",
    state: Annotated[
        str | None, typer.Option(help="Only these: running, ended or stopped.")
    ] = None,
    json: Json = False,
) -> None:
    """List the runs and races of a folder: state, accuracy, speed, time left, findings.

    Examples:

    - `ravine runs`

    - `ravine runs results/ --sort accuracy`

    - `ravine runs --state running --json`
    """
    found = sorted_entries(list_runs(folder), by=sort, state=state)
    if json:
        for one in found:
            print(json_format.dumps(plain(one.row()), ensure_ascii=False))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    for line in table_lines(found, width=width):
        print(line)


def table_lines(entries: list[RunEntry], *, width: int) -> list[str]:
    """Returns a table of runs, its last columns left out where they do not fit.

    Args:
        entries: a line each.
        width: columns of the terminal.
    """
    if not entries:
        return ["no runs here"]
    rows = [shown_entry(one) for one in entries]
    names = list(rows[0])
    lengths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    while len(names) > 3 and sum(lengths[n] + len(_GAP) for n in names) - len(_GAP) > width:
        names.pop()
    head = _GAP.join(name.ljust(lengths[name]) for name in names).rstrip()
    lines = [_GAP.join(row[name].ljust(lengths[name]) for name in names).rstrip() for row in rows]
    return [line[:width] for line in [head, *lines]]
