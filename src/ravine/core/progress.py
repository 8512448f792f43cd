"""How slow work tells how far it has come. Loads no torch."""

from typing import Protocol


class Progress(Protocol):
    """Told how far a slow piece of work has come."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tells that `done` of `total` parts of `what` are finished."""
        ...


def no_progress(what: str, done: int, total: int) -> None:
    """Tells nobody."""
