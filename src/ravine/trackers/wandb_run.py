"""A run in Weights & Biases, online or, with WANDB_MODE=offline, in a folder of its own."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from ravine.core.errors import SettingError
from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    import wandb
else:
    wandb = lazy_module("wandb")

PROJECT: Final = "ravine"
_START: Final = 60  # seconds to reach the server


@final
class WandbRun:
    """A run by wandb's own client; its project is WANDB_PROJECT, else `ravine`."""

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Opens the run.

        Raises:
            SettingError: it is meant to be online, and nobody is logged in.
        """
        online = os.environ.get("WANDB_MODE", "online") == "online"
        if online and wandb.Api.__module__ and not wandb.setup().settings.api_key:
            raise SettingError("nobody is logged in: wandb login, or WANDB_MODE=offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=run.resolve().name,
            config={**settings},
            dir=str(run),
            settings=wandb.Settings(silent=True, init_timeout=_START, console="off"),
        )
        # Rows of layers come later than those of steps: the step is a value, as they may go back.
        self._run.define_metric("*", step_metric="step")

    def scalars(self, values: Mapping[str, float], step: int, elapsed: float | None) -> None:
        """Logs values of a step."""
        own = {} if elapsed is None else {"train/elapsed": elapsed}
        self._run.log({"step": step, **values, **own})

    def histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """Logs a distribution."""
        self._run.log({"step": step, name: wandb.Histogram(list(values))})

    def text(self, name: str, text: str, step: int) -> None:
        """Keeps a line in the run's summary."""
        self._run.summary[name] = f"step {step}: {text}"

    def picture(self, name: str, path: Path) -> None:
        """Logs a picture."""
        self._run.log({name: wandb.Image(str(path))})

    def end(self, report: Path | None, results: Mapping[str, float]) -> None:
        """Keeps results and report, and closes the run."""
        for name, value in results.items():
            self._run.summary[f"result/{name}"] = value
        if report is not None:
            artifact = wandb.Artifact(f"report-{self._run.id}", type="report")
            artifact.add_file(str(report))
            self._run.log_artifact(artifact)
        self._run.finish()
