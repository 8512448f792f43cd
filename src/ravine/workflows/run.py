"""A run after training: its history and result, its network, evaluation and prediction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import nn

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.device import pick_device, pick_precision
from ravine.core.errors import RunError
from ravine.core.paths import usable_path
from ravine.core.progress import Progress, no_progress
from ravine.data.batches import evaluation_batches
from ravine.data.dataset import ImageArray
from ravine.data.opening import open_labelled, open_unlabelled
from ravine.runs.file_schemas import EVALUATION, fault_in
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.runs.history_file import read_history
from ravine.runs.rows import read_json
from ravine.training.evaluation import class_probabilities, full_evaluation
from ravine.training.model_file import TrainedModel, load_model

_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The probabilities that a network predicts for images.

    Attributes:
        names: paths of the N images, as they were found.
        classes: names of the K classes.
        probabilities: (N, K) float32, rows sum to 1.
        unreadable: name and reason of each file that is no readable image.
    """

    names: Sequence[str]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    unreadable: Sequence[tuple[str, str]]

    @property
    def labels(self) -> list[str]:
        """The likeliest class of each image."""
        return [self.classes[index] for index in self.probabilities.argmax(1)]


class Run:
    """A finished or unfinished run folder, or a model.safetensors on its own."""

    def __init__(
        self,
        folder: RunFolder,
        model_path: Path,
        *,
        code: AllowedCode = NO_CODE,
    ) -> None:
        self._folder = folder
        self._model_path = model_path
        self._code = code

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        allow_code: str | Sequence[str] = (),
        model: str | None = None,
    ) -> Self:
        """Returns the run in the folder `path`, or the one of a model.safetensors.

        Args:
            path: a run folder, or a model.safetensors, which alone is enough to predict.
            allow_code: the `module:callable` that may be imported, where the network is your own.
            model: the old name of `allow_code`.

        Raises:
            RunError: there is no run there.
            SettingError: `allow_code` is no `module:callable`.
        """
        path = usable_path("run", path)
        allowed = AllowedCode.of(allow_code, typed=[model])
        if path.is_file():
            return cls(RunFolder(path.parent), path, code=allowed)
        folder = open_run_folder(path)
        return cls(folder, folder.model, code=replace(allowed, run=folder.path))

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl."""
        return read_history(self._folder.history)

    @property
    def result(self) -> dict[str, Any]:
        """The final evaluation, as in evaluation.json.

        Raises:
            RunError: the run has not ended, or the file does not hold what it should.
        """
        path = self._folder.evaluation
        found = read_json(path)
        if (fault := fault_in(found, EVALUATION)) is not None:
            raise RunError(f"{path} does not hold what it should ({fault})")
        return found

    @cached_property
    def trained(self) -> TrainedModel:
        """The network with its classes and its preprocessing.

        Raises:
            RunError: the run has not ended, or its file is torn.
            CodeRefusedError: its network is code that was not allowed.
        """
        if not self._model_path.is_file():
            raise RunError(
                f"{self._model_path} is not there: the run has not ended; "
                f"go on with it: ravine resume {self.path}"
            )
        return load_model(self._model_path, code=self._code)

    @property
    def model(self) -> nn.Module:
        """The trained network, in evaluation mode, on the CPU."""
        return self.trained.model

    def _finite(self) -> TrainedModel:
        """Returns the network, whose weights are numbers.

        Raises:
            RunError: one is not, so that every prediction would be of the first class.
        """
        for name, value in self.trained.model.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise RunError(
                    f"{self._model_path}: the weights of {name} are not finite, as after a "
                    "training that diverged; train again with a lower --lr"
                )
        return self.trained

    def evaluate(
        self,
        data: str | Path,
        *,
        labels: str | None = None,
        tta: bool = False,
        device: str = "auto",
        precision: str = "auto",
        progress: Progress = no_progress,
    ) -> dict[str, Any]:
        """Returns accuracy with interval, confusion and calibration on labelled images.

        Args:
            data: a folder with one folder per class, or any other source that train takes.
            labels: a CSV with the labels of the images in `data`.
            tta: also give the result with test-time flip, apart.
            device: auto, cpu, cuda or cuda:N.
            precision: auto, float32 or bfloat16.
            progress: receives the progress of slow work.

        Raises:
            DataError: the data cannot be read, or has a class that the network does not know.
        """
        trained = self._finite()
        dataset = open_labelled(
            str(data),
            labels=labels,
            preprocessing=trained.preprocessing,
            classes=trained.classes,
            progress=progress,
        )
        plain, mirrored = self._log_probabilities(
            dataset.images, device=device, precision=precision, tta=tta, progress=progress
        )
        return full_evaluation(
            plain, mirrored, np.asarray(dataset.labels), split=str(data), classes=trained.classes
        )

    def predict(
        self,
        images: str | Path | Sequence[str | Path],
        *,
        tta: bool = False,
        device: str = "auto",
        precision: str = "auto",
        progress: Progress = no_progress,
    ) -> Predictions:
        """Returns the probabilities of the classes of each image.

        Args:
            images: a file, a folder, a CSV with a column of file names, or several of these.
            tta: mean over each image and its mirror image.
            device: auto, cpu, cuda or cuda:N.
            precision: auto, float32 or bfloat16.
            progress: receives the progress of slow work.

        Raises:
            DataError: there is nothing to read.
        """
        paths = [images] if isinstance(images, str | Path) else images
        trained = self._finite()
        found = open_unlabelled(
            [Path(path) for path in paths], preprocessing=trained.preprocessing, progress=progress
        )
        plain, mirrored = self._log_probabilities(
            found.images, device=device, precision=precision, tta=tta, progress=progress
        )
        chosen = plain if mirrored is None else mirrored
        return Predictions(
            names=list(found.names),
            classes=trained.classes,
            probabilities=np.exp(chosen),
            unreadable=list(found.unreadable),
        )

    def _log_probabilities(
        self, images: ImageArray, *, device: str, precision: str, tta: bool, progress: Progress
    ) -> tuple[np.ndarray, np.ndarray | None]:
        where = pick_device(device)
        count = len(images)
        if count == 0:
            empty = np.zeros((0, len(self.trained.classes)), np.float32)
            return empty, empty if tta else None
        batches = evaluation_batches(
            images,
            np.arange(count),
            preprocessing=self.trained.preprocessing,
            batch=_BATCH,
            device=where,
        )
        model = self.model.to(where)
        try:
            return class_probabilities(
                model,
                batches,
                precision=pick_precision(precision, where),
                mirrored=tta,
                each=_counting(progress, count),
            )
        finally:
            model.to("cpu")


def _counting(progress: Progress, count: int) -> Callable[[int], None]:
    done = 0

    def each(more: int) -> None:
        nonlocal done
        done += more
        progress("looking at images", done, count)

    return each
