"""`ravine report`."""

from typing import TYPE_CHECKING

from ravine.cli.options import LogTo
from ravine.cli.run_argument import RunArgument, existing_run
from ravine.core.lazy import lazy_module
from ravine.trackers.tracker import names_in

if TYPE_CHECKING:
    from ravine.reports import page
    from ravine.trackers import follower
else:
    page = lazy_module("ravine.reports.page", for_good=True)
    follower = lazy_module("ravine.trackers.follower")


def report(run: RunArgument = None, *, log_to: LogTo = None) -> None:
    """Write the report of a run, finished or not: one HTML page that opens offline.

    Examples:

    - `ravine report`, of the newest run

    - `ravine report runs/photos-wrn-16-4-1`

    - `ravine report runs/photos-wrn-16-4-1 --log-to tensorboard`, into a tracker after the fact
    """
    folder = existing_run(run)
    print(page.render_report(folder))
    for name in names_in(log_to or ()):
        print(f"logged to {follower.log_run(folder, name)}")
