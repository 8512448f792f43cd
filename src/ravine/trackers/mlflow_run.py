"""A run in MLflow: where MLFLOW_TRACKING_URI says, else where MLflow keeps runs by itself."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    import mlflow
    from mlflow import entities
else:
    mlflow = lazy_module("mlflow")
    entities = lazy_module("mlflow.entities")

EXPERIMENT: Final = "ravine"
_MOST: Final = 500  # values of a call, of the 1,000 that a server takes
_LONGEST: Final = 500  # characters of a parameter


@final
class MlflowRun:
    """A run in MLflow's store, by its client: no global run is opened or closed."""

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Opens a run of the experiment `ravine`."""
        self._client = mlflow.MlflowClient()
        found = self._client.get_experiment_by_name(EXPERIMENT)
        number = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        self._id = self._client.create_run(number, run_name=run.resolve().name).info.run_id
        self._began = time.time()
        self._waiting: list[Any] = []
        parameters = [entities.Param(k, str(v)[:_LONGEST]) for k, v in settings.items()]
        for start in range(0, len(parameters), 100):
            self._client.log_batch(self._id, params=parameters[start : start + 100])

    def scalars(self, values: Mapping[str, float], step: int, elapsed: float | None) -> None:
        """Collects values of a step; they are sent some hundred at a time."""
        at = int(1000 * (self._began + elapsed if elapsed is not None else time.time()))
        self._waiting += [entities.Metric(k, v, at, step) for k, v in values.items()]
        if len(self._waiting) >= _MOST:
            self._send()

    def _send(self) -> None:
        for start in range(0, len(self._waiting), _MOST):
            self._client.log_batch(self._id, metrics=self._waiting[start : start + _MOST])
        self._waiting = []

    def histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """Takes none: MLflow has no histograms."""

    def text(self, name: str, text: str, step: int) -> None:
        """Keeps a line as a tag; a later one of the same name takes its place."""
        self._client.set_tag(self._id, name, f"step {step}: {text}"[:5000])

    def picture(self, name: str, path: Path) -> None:
        """Keeps a picture as an artifact."""
        self._client.log_artifact(self._id, str(path), Path(name).parent.as_posix())

    def end(self, report: Path | None, results: Mapping[str, float]) -> None:
        """Sends the rest, keeps the report as an artifact, and closes the run."""
        self._send()
        for name, value in results.items():
            self._client.log_metric(self._id, f"result/{name}", value)
        if report is not None:
            self._client.log_artifact(self._id, str(report))
        self._client.set_terminated(self._id)
