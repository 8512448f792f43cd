"""What a tracker takes, and the table of trackers.

To add one: its file with a class that has these methods, a row here, its extra in pyproject.toml,
a test that reads back what it wrote, a line in docs/trackers.md.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, final

from ravine.core.errors import SettingError, unknown
from ravine.core.lazy import named_object


class Tracker(Protocol):
    """One run in a tracker. Any method may raise: the follower leaves the tracker then."""

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Opens the run.

        Args:
            run: its folder; the name of the run is the folder's.
            settings: of its recipe, as hyperparameters.
        """
        ...

    def scalars(self, values: Mapping[str, float], step: int, elapsed: float | None) -> None:
        """Takes values of a step; `elapsed` are seconds of training."""
        ...

    def histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """Takes a distribution of finite values."""
        ...

    def text(self, name: str, text: str, step: int) -> None:
        """Takes a line about a step, such as a finding."""
        ...

    def picture(self, name: str, path: Path) -> None:
        """Takes a PNG."""
        ...

    def end(self, report: Path | None, results: Mapping[str, float]) -> None:
        """Closes the run.

        Args:
            report: its page, as an artifact; None where there is none.
            results: of the final evaluation, by name.
        """
        ...


@final
class TrackerRow:
    """A tracker of the table: its class, and the package that it needs."""

    def __init__(self, made_by: str, needs: str) -> None:
        self.made_by, self.needs = made_by, needs


TRACKERS: Final[Mapping[str, TrackerRow]] = {
    "tensorboard": TrackerRow("ravine.trackers.tensorboard_files:TensorBoardFiles", "tensorboard"),
    "mlflow": TrackerRow("ravine.trackers.mlflow_run:MlflowRun", "mlflow"),
    "wandb": TrackerRow("ravine.trackers.wandb_run:WandbRun", "wandb"),
    "trackio": TrackerRow("ravine.trackers.trackio_run:TrackioRun", "trackio"),
}


class Logs(Protocol):
    """Anything that logs a dictionary of values at a step."""

    def log(self, values: dict[str, float], step: int) -> Any:
        """Takes values of a step."""
        ...


@final
class ObjectTracker:
    """A tracker of an object that has `log(dict, step)` and nothing else."""

    def __init__(self, made: Logs) -> None:
        self._made = made

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Opens nothing."""

    def scalars(self, values: Mapping[str, float], step: int, elapsed: float | None) -> None:
        """Passes the values on; the seconds stand among them as `elapsed`."""
        own = {} if elapsed is None else {"elapsed": elapsed}
        self._made.log({**values, **own}, step)

    def histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """Passes nothing on."""

    def text(self, name: str, text: str, step: int) -> None:
        """Passes nothing on."""

    def picture(self, name: str, path: Path) -> None:
        """Passes nothing on."""

    def end(self, report: Path | None, results: Mapping[str, float]) -> None:
        """Passes the results on, at no step of their own: that of the last row."""


def make_tracker(named: "str | Logs") -> tuple[str, Tracker]:
    """Returns the name of a tracker and the tracker, which has not begun.

    Args:
        named: of the table, or an object with `log(dict, step)`.

    Raises:
        SettingError: there is none of this name, or its package is not installed.
    """
    if not isinstance(named, str):
        if not callable(getattr(named, "log", None)):
            raise SettingError(f"log_to: {type(named).__name__} has no log(values, step)")
        return type(named).__name__, ObjectTracker(named)
    if named not in TRACKERS:
        raise unknown("tracker", named, sorted(TRACKERS))
    row = TRACKERS[named]
    if find_spec(row.needs) is None:
        raise SettingError(f"log_to {named} needs {row.needs}: pip install 'ravine[{named}]'")
    return named, named_object(row.made_by)()


def names_in(given: Sequence[str]) -> list[str]:
    """Returns the names of options that may be given several times, or with commas.

    >>> names_in(["tensorboard,mlflow", "wandb"])
    ['tensorboard', 'mlflow', 'wandb']
    """
    return [name.strip() for text in given for name in text.split(",") if name.strip()]
