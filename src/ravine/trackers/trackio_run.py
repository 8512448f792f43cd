"""A run in trackio, which keeps runs on this machine or, as it is set up, in a Space."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    import trackio
else:
    trackio = lazy_module("trackio")

PROJECT: Final = "ravine"


@final
class TrackioRun:
    """A run by trackio's own client; its project is TRACKIO_PROJECT, else `ravine`."""

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Opens the run."""
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT") or PROJECT,
            name=run.resolve().name,
            config={key: _plain(value) for key, value in settings.items()},
            embed=False,
        )

    def scalars(self, values: Mapping[str, float], step: int, elapsed: float | None) -> None:
        """Logs values of a step."""
        own = {} if elapsed is None else {"train/elapsed": elapsed}
        self._run.log({**values, **own}, step=step)

    def histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """Logs a distribution."""
        self._run.log({name: trackio.Histogram(list(values))}, step=step)

    def text(self, name: str, text: str, step: int) -> None:
        """Logs a line."""
        self._run.log({name: text}, step=step)

    def picture(self, name: str, path: Path) -> None:
        """Logs a picture."""
        self._run.log({name: trackio.Image(str(path))})

    def end(self, report: Path | None, results: Mapping[str, float]) -> None:
        """Logs the results and closes the run; trackio keeps no files of a run."""
        if results:
            self._run.log({f"result/{name}": value for name, value in results.items()})
        self._run.finish()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
