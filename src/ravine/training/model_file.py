"""model.safetensors: the weights, and in its metadata all that predicting needs.

Loading it runs no code that came with it: a network of the user's own (`module:callable`)
is only built when the user names it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ravine.core.errors import RunError
from ravine.core.tensor_file import load_tensors, save_tensors
from ravine.data.dataset import Preprocessing
from ravine.models.settings import ModelSettings

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A network in evaluation mode with what it expects and what it answers."""

    model: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    settings: ModelSettings


def save_model(
    path: Path,
    model: nn.Module,
    *,
    settings: ModelSettings,
    classes: Sequence[str],
    preprocessing: Preprocessing,
) -> None:
    """Writes the file: the same bytes for the same weights and settings.

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
    save_tensors(path, model.state_dict(), about)


def load_model(path: Path, *, trust: str | None = None) -> TrainedModel:
    """Returns the network of a file, on the CPU, in evaluation mode.

    Args:
        path: model.safetensors.
        trust: the `module:callable` that may be imported, where the network is the user's own.

    Raises:
        RunError: the file is missing, torn, or its parts do not fit together.
    """
    tensors, about = load_tensors(path)
    try:
        if about["format"] != _FORMAT:
            raise RunError(f"{path} has format {about['format']}; this Ravine reads {_FORMAT}")
        settings = ModelSettings.of(about["model"])
        classes = tuple(str(name) for name in about["classes"])
        preprocessing = Preprocessing.from_json(about["preprocessing"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} was not written by Ravine: {error} is missing") from error
    if ":" in settings.model and settings.model != trust:
        raise RunError(
            f"{path}: its network is the code {settings.model!r}; if you trust that code, "
            f"name it: --model {settings.model}"
        )
    model = settings.build_model(
        classes=len(classes),
        channels=preprocessing.channels,
        image_size=preprocessing.image_size,
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(
            f"{path}: its weights do not fit {settings.model}: {str(error).splitlines()[0]}"
        ) from error
    model = model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return TrainedModel(
        model=model, classes=classes, preprocessing=preprocessing, settings=settings
    )
