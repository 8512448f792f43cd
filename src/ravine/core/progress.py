"""Progress reports of slow work. Loads no torch."""

from typing import Protocol


class Progress(Protocol):
    """Receives progress reports."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Reports that `done` of `total` items of `what` are finished."""
        ...


def no_progress(what: str, done: int, total: int) -> None:
    """Ignores a progress report."""
