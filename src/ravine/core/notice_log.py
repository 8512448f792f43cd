"""Notices of a run in Python's logging: the logger `ravine`.

Nothing is printed by it unless the program says so (`logging.basicConfig(level=logging.INFO)`);
what a run shows by itself is `show=` of `ravine.train`.
"""

import logging

from ravine.core.events import Event, Notice

LOGGER = logging.getLogger("ravine")
LOGGER.addHandler(logging.NullHandler())


def log_notice(event: Event) -> None:
    """Logs a notice, as a warning where it is one; other events are passed over."""
    if isinstance(event, Notice):
        LOGGER.log(logging.WARNING if event.warning else logging.INFO, event.text)
