"""A run after training: its history and result, its network, evaluation and prediction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from torch import nn

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.device import pick_device, pick_precision
from ravine.core.errors import DataError, RunError, SettingError
from ravine.core.lazy import lazy_module
from ravine.core.progress import Progress, no_progress
from ravine.data.batches import evaluation_batches
from ravine.data.dataset import ImageArray, Preprocessing, Unlabelled
from ravine.data.given_images import open_given
from ravine.data.opening import open_labelled, open_unlabelled
from ravine.findings.verdict import Verdict, judge
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json, read_rows
from ravine.training.evaluation import class_probabilities, full_evaluation
from ravine.training.model_file import TrainedModel, load_model
from ravine.workflows.run_text import run_html, run_text

if TYPE_CHECKING:
    import pandas
else:
    pandas = lazy_module("pandas")

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
        path = Path(path)
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
        return read_rows(self._folder.history)

    @property
    def result(self) -> dict[str, Any]:
        """The final evaluation, as in evaluation.json.

        Raises:
            RunError: the run has not ended.
        """
        return read_json(self._folder.evaluation)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl about epochs."""
        return [row for row in self.history if row.get("kind") == "epoch"]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl about steps: each the mean of about a second."""
        return [row for row in self.history if row.get("kind") == "step"]

    def frame(self, kind: Literal["epochs", "steps"] = "epochs") -> Any:
        """Returns the rows of epochs or steps as a pandas data frame.

        Raises:
            SettingError: pandas is not installed.
        """
        if find_spec("pandas") is None:
            raise SettingError("frame needs pandas: pip install pandas; run.epochs are plain rows")
        return pandas.DataFrame(self.epochs if kind == "epochs" else self.steps)

    @property
    def verdict(self) -> Verdict:
        """What broke the run, or how good it is, and what to do next."""
        recipe = self._folder.recipe
        return judge(
            self.path,
            evaluation=read_json(self._folder.evaluation) if self._has_result else {},
            findings=read_rows(self._folder.findings),
            recipe=read_recipe(recipe)[0] if recipe.is_file() else {},
        )

    @property
    def _has_result(self) -> bool:
        return self._folder.evaluation.is_file()

    def __repr__(self) -> str:
        return run_text(self)

    def _repr_html_(self) -> str:
        return run_html(self)

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
        trained = self.trained
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
        images: Any,
        *,
        tta: bool = False,
        device: str = "auto",
        precision: str = "auto",
        progress: Progress = no_progress,
    ) -> Predictions:
        """Returns the probabilities of the classes of each image.

        Args:
            images: a file, a folder, a CSV with a column of file names; an image of Pillow; an
                array (H, W), (H, W, C) or (N, H, W, C); a tensor (H, W), (C, H, W) or
                (N, C, H, W), of bytes or of floats in 0..1; or a list of paths, or of images.
            tta: mean over each image and its mirror image.
            device: auto, cpu, cuda or cuda:N.
            precision: auto, float32 or bfloat16.
            progress: receives the progress of slow work.

        Raises:
            DataError: there is nothing to read.
        """
        trained = self.trained
        found = _open_images(images, trained.preprocessing, progress)
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


def _open_images(images: Any, preprocessing: Preprocessing, progress: Progress) -> Unlabelled:
    given = list(images) if isinstance(images, list | tuple) else [images]
    paths = [one for one in given if isinstance(one, str | Path)]
    if not paths and given:
        return open_given(given, preprocessing=preprocessing)
    if len(paths) < len(given):
        raise DataError("predict takes paths or images, not both in one call")
    return open_unlabelled(
        [Path(path) for path in paths], preprocessing=preprocessing, progress=progress
    )


def _counting(progress: Progress, count: int) -> Callable[[int], None]:
    done = 0

    def each(more: int) -> None:
        nonlocal done
        done += more
        progress("looking at images", done, count)

    return each
