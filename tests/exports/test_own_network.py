"""Anybody's network as a file, and the proof that keeps it or refuses it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import ravine
from ravine.core.errors import RunError, SettingError
from ravine.exports import onnx_file
from ravine.exports.formats import FORMATS

pytestmark = pytest.mark.slow  # many seconds

Make = Callable[..., nn.Module]
every_graph = pytest.mark.parametrize("name", ["onnx", "pt2"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size", "name"),
    [
        ("wrn-10-1", 16, "onnx"),
        ("resnet-cifar-8", 16, "pt2"),
        ("alexnet-2014", 32, "pt2"),
        ("alexnet", 32, "onnx"),
        ("swift-1", 16, "onnx"),
    ],
)
def test_each_of_ravines_families_leaves_and_is_proved(
    name: str, model: str, size: int, network: Make, tmp_path: Path
) -> None:
    images = torch.randn(5, 3, size, size)

    proof = ravine.export(network(model, image_size=size), [images], tmp_path / "out", format=name)

    assert proof.holds
    assert proof.differing == 0
    assert proof.largest_difference < 1e-5


def test_the_file_answers_as_the_network_does_for_any_number_of_images(
    network: Make, images: Tensor, tmp_path: Path
) -> None:
    model = network("wrn-10-1").eval()
    ravine.export(model, [(images, torch.zeros(40, dtype=torch.long))], tmp_path / "out")

    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")

    for count in (1, 7, 40):
        (found,) = session.run(None, {"images": images[:count].numpy()})
        with torch.no_grad():
            wanted = model(images[:count]).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_norms_behind_convolutions_are_gone_from_the_file(
    network: Make, images: Tensor, tmp_path: Path
) -> None:
    model = network("resnet-cifar-8")
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())

    proof = ravine.export(model, [images], tmp_path / "out")

    operators = {node.op_type for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node}
    assert proof.folded_norms == norms
    assert "BatchNormalization" not in operators


@every_graph
def test_a_convolutions_own_bias_is_kept_when_a_norm_is_folded_into_it(
    name: str, images: Tensor, tmp_path: Path
) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 4),
    )  # fmt: skip
    with torch.no_grad():
        model[0].bias.normal_(std=3)  # type: ignore[operator, union-attr]
        model[1].running_mean.normal_()  # type: ignore[operator, union-attr]

    proof = ravine.export(model, [images], tmp_path / "out", format=name)

    assert proof.folded_norms == 1
    assert proof.holds


def test_the_network_is_left_in_its_mode_and_with_its_weights(
    network: Make, images: Tensor, tmp_path: Path
) -> None:
    model = network("wrn-10-1").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}

    ravine.export(model, [images], tmp_path / "out", format="pt2")

    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


class Odd(nn.Module):
    """Another network while it is exported than while it runs."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)
        self.fault = fault
        nn.init.constant_(self.head.bias, 0.3)
        nn.init.constant_(self.head.bias[:1], -0.3)

    def forward(self, x: Tensor) -> Tensor:
        exporting = torch.compiler.is_exporting()
        if exporting and self.fault == "training":
            x = self.body[0](x)
            norm = self.body[1]
            x = nn.functional.batch_norm(x, None, None, norm.weight, norm.bias, training=True)
            x = x.relu()
        else:
            x = self.body(x)
        bias = None if exporting and self.fault == "bias" else self.head.bias
        return nn.functional.linear(x.mean((2, 3)), self.head.weight, bias)


@pytest.mark.parametrize("fault", ["bias", "training"])
def test_a_damaged_graph_is_refused_and_nothing_is_kept(
    fault: str, images: Tensor, tmp_path: Path
) -> None:
    with pytest.raises(
        RunError, match=r"is not kept: its probabilities differ .* up to 0\.\d+ on 40"
    ):
        ravine.export(Odd(fault), [images], tmp_path / "out", format="pt2")

    assert list(tmp_path.iterdir()) == []
    assert ravine.export(Odd(""), [images], tmp_path / "out", format="pt2").holds


def test_a_zeroed_bias_in_the_file_fails_its_proof(
    network: Make, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(model: onnx.ModelProto, path: Path) -> None:
        (gemm,) = (node for node in model.graph.node if node.op_type == "Gemm")
        (bias,) = (value for value in model.graph.initializer if value.name == gemm.input[2])
        bias.raw_data = bytes(len(bias.raw_data))
        onnx.save_model(model, path)

    whole = onnx_file.write_onnx

    def write(exportable: object, path: Path) -> None:
        whole(exportable, path)  # type: ignore[arg-type]
        damage(onnx.load(path), path)

    damaged = {"onnx": replace(FORMATS["onnx"], write=write)}
    monkeypatch.setattr("ravine.exports.proved.FORMATS", damaged)
    model = network("wrn-10-1")
    nn.init.normal_(model[-1].bias, std=0.5)  # type: ignore[index, arg-type]
    with pytest.raises(RunError, match="is not kept"):
        ravine.export(model, [images], tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_what_fits_bfloat16_leaves_as_float32_and_says_so(
    network: Make, images: Tensor, tmp_path: Path
) -> None:
    proof = ravine.export(
        network("wrn-10-1").to(torch.bfloat16), [images], tmp_path / "out", format="pt2"
    )

    assert proof.notes == ("weights in bfloat16 leave as float32",)


def test_a_network_with_a_frozen_batch_is_refused(images: Tensor, tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)).reshape(2, 3) if len(x) == 2 else x.mean((2, 3))

    with pytest.raises(SettingError, match=r"any number of images: .*specialized it"):
        ravine.export(Fixed(), [images], tmp_path / "out", format="pt2")


def test_several_labels_are_decided_one_by_one(
    network: Make, images: Tensor, tmp_path: Path
) -> None:
    model = network("wrn-10-1").eval()
    with torch.no_grad():
        truth = (model(images).sigmoid() >= 0.5).long()

    proof = ravine.export(
        model, [(images, truth)], tmp_path / "out", format="pt2", several_labels=True
    )

    assert proof.accuracy is not None
    assert proof.accuracy.value == 1.0
    about = json.loads((tmp_path / "out" / "proof.json").read_text())
    assert about["exported_accuracy"]["value"] == 1.0


@torch.library.custom_op("ravine_tests::twist", mutates_args=())
def twist(x: Tensor) -> Tensor:
    return x.sin()


@twist.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Twist(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return twist(x)


def test_an_operator_that_onnx_does_not_have_is_named_with_its_layer(
    images: Tensor, tmp_path: Path
) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(Twist()), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )

    with pytest.raises(
        SettingError, match=r"no operator for ravine_tests\.twist\.default of layer 1\.0;"
    ):
        ravine.export(model, [images], tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "onxx"}, "unknown format 'onxx'; did you mean 'onnx'"),
        ({"format": "pt2", "int8": True}, "int8 is made of onnx only"),
        ({"int8": True}, "int8 is calibrated on training images"),
        ({"classes": ["a"]}, "1 classes are named, and the network has 4 outputs"),
        ({"format": "safetensors-timm", "name": "wrn-10-1"}, "."),
    ],
)
def test_what_cannot_work_is_one_line(
    arguments: dict[str, object], message: str, network: Make, images: Tensor, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=message):
        ravine.export(network("wrn-10-1"), [images], tmp_path / "out", **arguments)  # type: ignore[arg-type]


def test_a_missing_package_is_named_with_the_line_that_installs_it(
    network: Make, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ravine.exports.needed_module.find_spec", lambda _: None)

    with pytest.raises(SettingError, match=r"needs onnx, .*pip install 'ravine\[onnx\]'"):
        ravine.export(network("wrn-10-1"), [images], tmp_path / "out")


def test_no_images_no_proof(network: Make, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="batches is empty"):
        ravine.export(network("wrn-10-1"), [], tmp_path / "out")


def test_an_earlier_export_is_replaced_and_nothing_else(
    network: Make, images: Tensor, tmp_path: Path
) -> None:
    ravine.export(network("wrn-10-1"), [images], tmp_path / "out", format="pt2")
    ravine.export(network("swift-1"), [images], tmp_path / "out", format="pt2")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")

    with pytest.raises(SettingError, match="holds something else than an export"):
        ravine.export(network("wrn-10-1"), [images], tmp_path / "own", format="pt2")

    assert (tmp_path / "own" / "thesis.txt").read_text() == "mine"


@pytest.mark.slow
def test_int8_is_smaller_and_says_what_it_loses(
    network: Make, images: Tensor, tmp_path: Path
) -> None:
    model = network("resnet-cifar-8").eval()
    with torch.no_grad():
        labels = model(images).argmax(1)
    whole = ravine.export(model, [(images, labels)], tmp_path / "whole")

    small = ravine.export(
        model,
        [(images, labels)],
        tmp_path / "small",
        int8=True,
        calibration=[images],
        most_lost=1.0,
    )

    assert small.bytes < 0.6 * whole.bytes
    assert small.lost is not None
    assert small.lost[1][0] <= small.lost[0] <= small.lost[1][1]
    assert {"network", "float32", "exported"} == set(small.latency["64"].milliseconds)


def test_int8_that_loses_more_than_is_allowed_is_refused(
    network: Make, images: Tensor, tmp_path: Path
) -> None:
    model = network("resnet-cifar-8").eval()
    with torch.no_grad():
        labels = model(images).argmax(1)

    with pytest.raises(RunError, match=r"int8 loses \d+\.\d\d points of accuracy"):
        # Calibrated on images a thousand times too bright, all others become zero.
        ravine.export(
            model, [(images, labels)], tmp_path / "out", int8=True, calibration=[images * 1000],
            most_lost=0.01,
        )  # fmt: skip

    assert list(tmp_path.iterdir()) == []
