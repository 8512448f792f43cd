"""`ravine report`."""

from pathlib import Path
from typing import Annotated

import typer

from ravine.reports import render_report
from ravine.runs.folder import open_run_folder


def report(run: Annotated[Path, typer.Argument(help="The run folder.")]) -> None:
    """Write the report of a run, finished or not: one HTML page that opens offline.

    Example: `ravine report runs/photos-wrn-16-4-1`
    """
    print(render_report(open_run_folder(run).path))
