"""TensorBoard's event files, in RUN/tensorboard: `tensorboard --logdir runs` shows all runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from PIL import Image

from ravine.core.lazy import lazy_module
from ravine.runs.links import refuse_link

if TYPE_CHECKING:
    from torch.utils import tensorboard
    from torch.utils.tensorboard import summary
else:
    tensorboard = lazy_module("torch.utils.tensorboard")
    summary = lazy_module("torch.utils.tensorboard.summary")


@final
class TensorBoardFiles:
    """A run as event files, written by torch's own writer."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._step = 0

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Opens the files; what an earlier call wrote of the run no longer counts."""
        folder = run / "tensorboard"
        refuse_link(folder)
        self._writer = tensorboard.SummaryWriter(str(folder), purge_step=0)
        self._settings = {key: _plain(value) for key, value in settings.items()}
        lines = "\n".join(f"    {key} = {value!r}" for key, value in settings.items())
        self._writer.add_text("recipe", lines, 0)

    def scalars(self, values: Mapping[str, float], step: int, elapsed: float | None) -> None:
        """Writes values of a step."""
        self._step = max(self._step, step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if elapsed is not None:
            self._writer.add_scalar("train/elapsed", elapsed, step)

    def histogram(self, name: str, values: Sequence[float], step: int) -> None:
        """Writes a distribution."""
        self._writer.add_histogram(name, np.asarray(values), step)

    def text(self, name: str, text: str, step: int) -> None:
        """Writes a line."""
        self._writer.add_text(name, text, step)

    def picture(self, name: str, path: Path) -> None:
        """Writes a picture."""
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._writer.add_image(name, pixels, self._step, dataformats="HWC")

    def end(self, report: Path | None, results: Mapping[str, float]) -> None:
        """Writes settings and results for the table of hyperparameters; the report lies beside."""
        named = {f"result/{key}": value for key, value in results.items()}
        files = self._writer.file_writer
        assert files is not None  # it is open until `close`
        for part in summary.hparams(self._settings, dict.fromkeys(named, 0.0)):
            files.add_summary(part)
        for name, value in named.items():
            self._writer.add_scalar(name, value, self._step)
        self._writer.close()


def _plain(value: Any) -> bool | float | str:
    """Returns a setting as the table of hyperparameters takes it."""
    if isinstance(value, bool | str):
        return value
    return float(value) if isinstance(value, int | float) else str(value)
