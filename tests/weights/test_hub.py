"""Folders as on the hub: what config.json says is taken over, what is odd counts as unknown."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ravine.core.errors import RunError, SettingError
from ravine.models.timm_library import TimmNetwork, refuse_other_size
from ravine.weights.hub_weights import input_of, read_hub_folder


def _folder(path: Path, config: object, card: str = "") -> Path:
    save_file({"fc.weight": torch.ones(2, 3), "conv1.weight": torch.ones(3, 3, 1, 1)}, path / "m")
    (path / "m").rename(path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    (path / "README.md").write_text(card)
    return path


def test_input_classes_and_licence_are_those_of_the_files(tmp_path: Path) -> None:
    record = {"input_size": [3, 160, 160], "crop_pct": 0.9, "interpolation": "bicubic"}
    record |= {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    config = {"architecture": "resnet18", "label_names": ["cat", "dog"], "pretrained_cfg": record}
    folder = _folder(tmp_path, config, "---\nlicense: apache-2.0\n---\n# A card\n")

    found, architecture = read_hub_folder(folder, source="here")

    assert architecture == "resnet18"
    assert found.classes == ("cat", "dog")
    assert found.licence == "apache-2.0"
    assert found.input.settings() == {
        "image_size": 160,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "interpolation": "bicubic",
        "crop_share": 0.9,
        "fit": "crop",
    }


@pytest.mark.parametrize(
    "record",
    [
        {"input_size": [3, 160, 200]},
        {"input_size": "224", "crop_pct": 7, "interpolation": "nearest"},
        {"mean": [0.5, "x", 1]},
        {"mean": [0.5], "std": None},
    ],
)
def test_what_is_odd_counts_as_unknown(record: dict[str, object]) -> None:
    assert input_of(record).settings() == {}


def test_a_folder_with_a_pickle_alone_is_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(RunError, match=r"pytorch_model\.bin is a pickle, which Ravine never opens"):
        read_hub_folder(tmp_path, source="here")


def test_a_config_that_is_no_json_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {})
    (folder / "config.json").write_text("{")

    with pytest.raises(RunError, match=r"config\.json is no JSON"):
        read_hub_folder(folder, source="here")


def test_a_network_of_fixed_size_takes_no_other() -> None:
    network = TimmNetwork(
        name="vit", architecture="vit", image_size=224, fixed=True, least=0, pretrained={}
    )

    refuse_other_size(network, 224)
    with pytest.raises(SettingError, match="images of 224×224 only, not of 64: --image-size 224"):
        refuse_other_size(network, 64)
