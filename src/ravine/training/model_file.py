"""model.safetensors: the weights, and in its metadata all that prediction needs.

Loading it runs no code: a network of the user's own (`module:callable`) is only built when the
user names it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.errors import RunError
from ravine.core.tensor_file import load_metadata, load_tensors, save_tensors
from ravine.data.dataset import Preprocessing
from ravine.models.settings import ModelSettings
from ravine.nn.inference_engine import InferenceEngine
from ravine.nn.label_prior import add_named_biases_

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A network in evaluation mode with its preprocessing and its classes.

    Attributes:
        engine: of the network, images (B, C, S, S) to logits (B, K).
        classes: names of the K classes, or labels.
        preprocessing: of the images.
        settings: of the network.
        thresholds: (K) of several labels, from which a probability is a yes; None where an image
            has one class.
    """

    engine: InferenceEngine
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    settings: ModelSettings
    thresholds: tuple[float, ...] | None = None

    @property
    def model(self) -> nn.Module:
        """The network itself. Who has it may change it: from now on changes are looked for."""
        self.engine.is_shared = True
        return self.engine.network

    @property
    def several(self) -> bool:
        """Whether each label has a probability of its own."""
        return self.thresholds is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The content of a model.safetensors: tensors by name, classes, preprocessing, settings."""

    tensors: dict[str, torch.Tensor]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    settings: ModelSettings
    thresholds: tuple[float, ...] | None = None


def save_model(
    path: Path,
    model: nn.Module,
    *,
    settings: ModelSettings,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    thresholds: Sequence[float] | None = None,
) -> None:
    """Writes the file: the same bytes for the same weights and settings.

    Args:
        path: of the file.
        model: the network.
        settings: that it is built from.
        classes: the K names.
        preprocessing: of its images.
        thresholds: (K) of several labels; None where an image has one class.

    Raises:
        RunError: the disk is full or read-only.
    """
    plain = {name: getattr(settings, name) for name in ModelSettings.model_fields}
    about = {
        "format": _FORMAT,
        "model": plain,
        "classes": list(classes),
        "preprocessing": preprocessing.to_json(),
    }
    if thresholds is not None:
        about |= {"labels_per_image": "several", "thresholds": list(thresholds)}
    save_tensors(path, model.state_dict(), about)


def check_model_code(path: Path, code: AllowedCode) -> None:
    """Raises `CodeRefusedError` if the network of a file is code that is not allowed.

    Only the head of the file is read. One that is no model of Ravine's is left to `load_model`.
    """
    settings = load_metadata(path).get("model")
    if isinstance(settings, dict):
        code.check(str(settings.get("model")), source=path)


def read_model_file(path: Path, *, code: AllowedCode = NO_CODE) -> ModelFile:
    """Returns what a file holds; no network is built.

    Args:
        path: model.safetensors.
        code: the `module:callable`s that may be imported, where the network is the user's own.

    Raises:
        CodeRefusedError: its network is one that `code` does not name; nothing was imported.
        RunError: the file is missing, torn, or its parts do not fit together.
    """
    check_model_code(path, code)
    tensors, about = load_tensors(path)
    try:
        if about["format"] != _FORMAT:
            raise RunError(f"{path} has format {about['format']}; this Ravine reads {_FORMAT}")
        settings = ModelSettings.of(about["model"])
        classes = tuple(str(name) for name in about["classes"])
        preprocessing = Preprocessing.from_json(about["preprocessing"])
        thresholds = _thresholds(path, about, len(classes))
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} was not written by Ravine: {error} is missing") from error
    return ModelFile(
        tensors=tensors,
        classes=classes,
        preprocessing=preprocessing,
        settings=settings,
        thresholds=thresholds,
    )


def load_model(path: Path, *, code: AllowedCode = NO_CODE) -> TrainedModel:
    """Returns the network of a file, on the CPU, in evaluation mode; see `read_model_file`."""
    found = read_model_file(path, code=code)
    settings, classes, preprocessing = found.settings, found.classes, found.preprocessing
    model = settings.build_model(
        classes=len(classes),
        channels=preprocessing.channels,
        image_size=preprocessing.image_size,
        code=code,
    )
    if found.thresholds is not None:
        add_named_biases_(model, found.tensors)
    try:
        model.load_state_dict(found.tensors)
    except RuntimeError as error:
        raise RunError(
            f"{path}: its weights do not fit {settings.model}: {str(error).splitlines()[0]}"
        ) from error
    model = model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return TrainedModel(
        engine=InferenceEngine(model, is_shared=False),
        classes=classes,
        preprocessing=preprocessing,
        settings=settings,
        thresholds=found.thresholds,
    )


def _thresholds(path: Path, about: Mapping[str, Any], count: int) -> tuple[float, ...] | None:
    """Returns the thresholds of several labels; None where an image has one class."""
    if about.get("labels_per_image", "one") == "one":
        return None
    values = about["thresholds"]
    fits = isinstance(values, list) and len(values) == count
    if not (fits and all(type(v) in (int, float) and 0 <= v <= 1 for v in values)):
        raise RunError(f"{path}: its thresholds are not {count} numbers from 0 to 1")
    return tuple(float(value) for value in values)
