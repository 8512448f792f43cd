"""`log_to=`: a run's trackers, which follow its folder while it is trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ravine.core.events import Event, Notice, Observer, TrainingStarted, ignore
from ravine.core.launch import is_secondary_process
from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    from ravine.trackers import follower
    from ravine.trackers.tracker import Logs
else:
    follower = lazy_module("ravine.trackers.follower")


@contextmanager
def tracked(
    log_to: "str | Logs | Sequence[str | Logs]", observers: Sequence[Observer]
) -> Iterator[Observer]:
    """Gives the observer of a run that starts its trackers; at the end they get the rest.

    Args:
        log_to: trackers by name, or objects with `log(dict, step)`.
        observers: receive a warning where a tracker fails.

    Raises:
        SettingError: there is no such tracker, or its package is not installed.
    """
    named: list[str | Logs] = []
    if isinstance(log_to, str) or not isinstance(log_to, Sequence):
        named += [log_to] if log_to else []
    else:
        named += log_to
    if not named or is_secondary_process():
        yield ignore
        return

    def report(text: str) -> None:
        for observer in observers:
            observer(Notice(text=text, warning=True))

    with follower.following(named, report) as live:

        def begin(event: Event) -> None:
            if isinstance(event, TrainingStarted) and event.run:
                live.begin(Path(event.run))

        yield begin
