"""Opens what `--weights` names: a run, a safetensors file, a folder or a network of the hub."""

from dataclasses import replace
from pathlib import Path

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import RunError, SettingError
from ravine.core.json_text import parse_json
from ravine.core.paths import usable_path
from ravine.core.regular_file import read_regular
from ravine.data.dataset import Preprocessing
from ravine.models.timm_library import describe_timm
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.training.model_file import read_model_file
from ravine.weights.hub_weights import fetch_folder, read_hub_folder
from ravine.weights.trained_weights import NetworkInput, TrainedWeights
from ravine.weights.weight_file import read_weight_file
from ravine.workflows.weights_path import TIMM, is_run, refuse_missing_weights

_OF_RAVINE = "ravine"  # key of the metadata of Ravine's own files


def open_weights(weights: str, *, code: AllowedCode) -> TrainedWeights:
    """Returns the trained weights that `weights` names, checked to be finite.

    Args:
        weights: a run folder, a .safetensors file, a folder as on the hub, or timm/NAME.
        code: the `module:callable`s that may be imported, where the network is the user's own.

    Raises:
        CodeRefusedError: their network is code that is not allowed.
        RunError: there are none, a file is a pickle or torn, or a number is not finite.
        SettingError: timm is not there, or does not know the name.
    """
    path = usable_path("weights", weights)
    if is_run(weights):
        found = _of_run(open_run_folder(path), code)
    elif path.is_file():
        found = _of_file(path, code)
    elif path.is_dir():
        found = _of_folder(path, code)
    elif weights.startswith(TIMM):
        found = _of_timm(weights)
    else:
        refuse_missing_weights(weights)
        raise AssertionError(weights)
    found.refuse_not_finite()
    return found


def _of_run(folder: RunFolder, code: AllowedCode) -> TrainedWeights:
    if not folder.model.is_file():
        raise RunError(
            f"{folder.path} has no weights yet: it has not ended; first ravine resume {folder.path}"
        )
    return _of_ravine(folder.model, str(folder.path), code, licence=_licence_of(folder))


def _licence_of(folder: RunFolder) -> str | None:
    """Returns the licence of the weights that a run started from; None where it states none."""
    try:
        record = parse_json(read_regular(folder.weights_record))
    except (OSError, ValueError):
        return None
    licence = record.get("licence") if isinstance(record, dict) else None
    return licence if isinstance(licence, str) else None


def _of_ravine(
    path: Path, source: str, code: AllowedCode, *, licence: str | None = None
) -> TrainedWeights:
    held = read_model_file(path, code=code)
    return TrainedWeights(
        tensors=held.tensors,
        source=source,
        network=held.settings.model_dump(),
        classes=held.classes,
        input=_input_of(held.preprocessing),
        licence=licence,
        details={"file": str(path.absolute())},
    )


def _input_of(preprocessing: Preprocessing) -> NetworkInput:
    return NetworkInput(
        image_size=preprocessing.image_size,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
        crop_share=preprocessing.crop_share,
        fit=preprocessing.fit,
    )


def _of_file(path: Path, code: AllowedCode) -> TrainedWeights:
    tensors, metadata = read_weight_file(path)
    if _OF_RAVINE in metadata:
        return _of_ravine(path, str(path), code)
    return TrainedWeights(
        tensors=tensors,
        source=str(path),
        licence=metadata.get("license") or metadata.get("licence"),
        details={"file": str(path.absolute())},
    )


def _of_folder(path: Path, code: AllowedCode) -> TrainedWeights:
    """Returns the weights of a folder as on the hub, or with a model.safetensors of Ravine's."""
    file = path / "model.safetensors"
    if file.is_file() and not (path / "config.json").is_file():
        return _of_file(file, code)
    found, architecture = read_hub_folder(path, source=str(path))
    return replace(found, network={"model": f"{TIMM}{architecture}"} if architecture else {})


def _of_timm(weights: str) -> TrainedWeights:
    """Returns the weights of a network of timm, from the hub's cache or from the hub."""
    network = describe_timm(weights.removeprefix(TIMM))
    repository = network.pretrained.get("hf_hub_id")
    if not repository:
        raise SettingError(
            f"{weights} has no weights on the hub; without weights: --model {weights}"
        )
    folder = fetch_folder(str(repository), wanted=weights)
    found, _ = read_hub_folder(folder, source=weights, record=network.pretrained)
    return replace(found, network={"model": f"{TIMM}{network.architecture}"})
