"""`ravine report`."""

from typing import TYPE_CHECKING

from ravine.cli.run_argument import RunArgument, existing_run
from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    from ravine.reports import page
else:
    page = lazy_module("ravine.reports.page")


def report(run: RunArgument = None) -> None:
    """Write the report of a run, finished or not: one HTML page that opens offline.

    Examples:

    - `ravine report`, of the newest run

    - `ravine report runs/photos-wrn-16-4-1`
    """
    folder = existing_run(run)
    print(page.render_report(folder))
