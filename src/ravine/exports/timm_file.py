"""config.json and model.safetensors as timm reads them: `timm.create_model("local-dir:FOLDER")`.

For networks that timm has: its own, and Ravine's resnet-18 to resnet-152 with the stem of their
paper, whose layers have other names there.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.exports.exportable import Exportable
from ravine.exports.facts import Facts
from ravine.exports.needed_module import needed
from ravine.exports.runner import Runner

MODULES = ("timm",)
_OURS = re.compile(r"resnet-(18|34|50|101|152)")
_STEM = 7  # kernel of the paper's first convolution
# What belongs to timm's network; the rest of its record is about weights that these are not.
_OF_NETWORK = ("architecture", "first_conv", "classifier", "fixed_input_size", "min_input_size")
_CROPS: Mapping[str, str] = {"crop": "center", "pad": "border", "squash": "squash"}


def write_timm(exportable: Exportable, path: Path) -> None:
    """Writes model.safetensors at `path`, and config.json next to it.

    Raises:
        SettingError: timm has no such network.
    """
    timm = needed("timm", extra="timm", what="format safetensors-timm")
    facts = exportable.facts
    name = _timms_name(facts.network, exportable.network)
    arguments = {"in_chans": facts.input_shape[0]} if facts.input_shape[0] != 3 else {}
    model = timm.create_model(name, num_classes=len(facts.classes), **arguments)
    _copy_weights(exportable.network, model, names=(facts.network, name))
    model.pretrained_cfg = {k: v for k, v in model.pretrained_cfg.items() if k in _OF_NETWORK}
    model.pretrained_cfg |= _input_config(exportable.facts)
    timm.models.save_for_hf(
        model,
        path.parent,
        model_config={"label_names": list(facts.classes)},
        model_args=arguments or None,
        safe_serialization=True,
    )
    (path.parent / "pytorch_model.bin").unlink(missing_ok=True)


def _input_config(facts: Facts) -> dict[str, Any]:
    """Returns what timm's own transforms are made from."""
    config: dict[str, Any] = {"input_size": facts.input_shape, "num_classes": len(facts.classes)}
    made = facts.preprocessing
    if made is not None:
        config |= {
            "mean": made.mean,
            "std": made.std,
            "interpolation": made.interpolation,
            "crop_pct": made.crop_share,
            "crop_mode": _CROPS[made.fit],
        }
    return config


def open_timm(path: Path, threads: int) -> Runner:
    """Returns timm's network from the folder of a file, in the threads that torch has.

    Args:
        path: of model.safetensors.
        threads: not used: they are the process's own.
    """
    del threads
    timm = needed("timm", extra="timm", what="format safetensors-timm")
    model = timm.create_model(f"local-dir:{path.parent}", pretrained=True).eval()

    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: Tensor = model(torch.from_numpy(images))
        return found.numpy()

    return Runner(run=run, runtime=f"timm {timm.__version__}, torch {torch.__version__}")


def _timms_name(name: str, network: nn.Module) -> str:
    """Returns timm's name of a network.

    Raises:
        SettingError: timm has no such network.
    """
    if name.startswith("timm/"):
        return name.removeprefix("timm/")
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    if not _OURS.fullmatch(name) or first is None or first.kernel_size[0] != _STEM:
        raise SettingError(
            f"timm has no network like {name} at this image size: only timm/NAME, and resnet-18 to "
            "resnet-152 from 65 pixels on, leave as safetensors-timm; take --format onnx"
        )
    return name.replace("-", "")


def _copy_weights(network: nn.Module, model: nn.Module, *, names: tuple[str, str]) -> None:
    """Copies the weights in order: both list their layers as they are run, the shortcut last.

    Raises:
        SettingError: the networks have other layers.
    """
    ours, theirs = network.state_dict(), model.state_dict()
    if [v.shape for v in ours.values()] != [v.shape for v in theirs.values()]:
        raise SettingError(
            f"timm's {names[1]} has other layers than this {names[0]}; take --format onnx"
        )
    model.load_state_dict(dict(zip(theirs, ours.values(), strict=True)))
