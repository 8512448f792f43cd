"""Tensors of another library's network are found by shape and order: the logits say whether."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ravine.cli.error_line import error_lines
from ravine.core.errors import RunError
from ravine.models import build
from ravine.weights.adapt import adapt
from ravine.weights.layer_units import layer_units
from ravine.weights.tensor_matching import match_tensors
from ravine.weights.trained_weights import TrainedWeights
from ravine.weights.weight_file import read_weight_file


class Block(nn.Module):
    """A residual block with the names that torchvision and timm give its layers."""

    def __init__(self, channels: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = (width, width, out) if bottleneck else (width, out)
        at = kernels.index(3)
        self.relu = nn.ReLU()
        self.count = len(kernels)
        for number, (kernel, wide) in enumerate(zip(kernels, widths, strict=True), start=1):
            before = channels if number == 1 else width
            own_stride = stride if number == at + 1 else 1
            conv = nn.Conv2d(before, wide, kernel, own_stride, kernel // 2, bias=False)
            setattr(self, f"conv{number}", conv)
            setattr(self, f"bn{number}", nn.BatchNorm2d(wide))
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = self.relu(y) if number < self.count else y
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class TheirResNet(nn.Module):
    """A ResNet for large images with torchvision's names."""

    def __init__(self, blocks: tuple[int, ...], *, bottleneck: bool, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            layers = []
            for index in range(count):
                stride = 2 if stage and not index else 1
                layers.append(Block(channels, width, stride, bottleneck=bottleneck))
                channels = 4 * width if bottleneck else width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


def _randomised(model: nn.Module) -> nn.Module:
    """Gives every norm values and statistics of its own, so that a swap of two is seen."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.2, 0.2, generator=generator)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "blocks", "bottleneck"),
    [("resnet-18", (2, 2, 2, 2), False), ("resnet-50", (3, 4, 6, 3), True)],
)
def test_a_file_with_torchvisions_names_gives_the_same_logits(
    name: str, blocks: tuple[int, ...], bottleneck: bool, tmp_path: Path
) -> None:
    theirs = _randomised(TheirResNet(blocks, bottleneck=bottleneck, classes=5))
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours = build(name, classes=5, image_size=96).eval()
    head = list(dict(ours.named_modules()))[-1]

    tensors, _ = read_weight_file(tmp_path / "theirs.safetensors")
    trained = TrainedWeights(tensors=tensors, source="theirs", classes=tuple("abcde"))
    adapted = adapt(ours, trained, classes=tuple("abcde"), head=head)
    ours.load_state_dict(adapted.tensors)

    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)
    assert adapted.match.by == "shape and order"
    assert "layer1.0.conv1.weight → 3.branch.0.weight" in adapted.match.lines()


def test_layers_are_found_in_their_order_in_names_that_are_sorted() -> None:
    names = TheirResNet((1, 2, 1, 1), bottleneck=False, classes=2).state_dict()
    shapes = {name: tuple(names[name].shape) for name in sorted(names)}

    weights = [unit.weight for unit in layer_units(shapes, in_order=False)]

    assert weights[:4] == [
        "conv1.weight",
        "layer1.0.conv1.weight",
        "layer1.0.conv2.weight",
        "layer2.0.conv1.weight",
    ]
    assert weights[-1] == "fc.weight"


def test_weights_of_a_deeper_network_are_refused_with_what_fits() -> None:
    deep = build("wrn-16-1", classes=10).state_dict()
    flat = build("wrn-10-1", classes=10).state_dict()

    with pytest.raises(RunError, match=r"deep does not fit this network: .* layers of .*--model"):
        match_tensors(
            {k: tuple(v.shape) for k, v in flat.items()},
            {f"x.{k}": tuple(v.shape) for k, v in deep.items()},
            head="6",
            source="deep",
        )


def test_a_stem_of_another_image_size_is_named() -> None:
    small = build("resnet-18", classes=10, image_size=32).state_dict()
    large = build("resnet-18", classes=10, image_size=96).state_dict()
    here, there = ({k: tuple(v.shape) for k, v in one.items()} for one in (small, large))

    message = r"0\.weight is 64×3×7×7 there and 64×3×3×3 here.*--image-size"
    with pytest.raises(RunError, match=message):
        match_tensors(
            {k.replace("11.", "12."): v for k, v in here.items()}, there, head="12", source="large"
        )


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_weights_of_a_deeper_network_whose_names_include_these_are_refused() -> None:
    shallow = _shapes(TheirResNet((2, 2, 2, 2), bottleneck=False, classes=2))
    deep = _shapes(TheirResNet((3, 4, 6, 3), bottleneck=False, classes=2))

    with pytest.raises(RunError, match=r"smaller: 16 of its 37 layers have no .*layer1\.2\.conv1"):
        match_tensors(shallow, deep, head="fc", source="deep")


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("wrn-16-1", "they are of wrn-16-1: leave out --model and --image-size"),
        (None, "leave out --image-size, or name the network that they are of with --model"),
    ],
)
def test_weights_of_a_wider_network_are_named_with_what_fits_and_a_remedy_that_is_shown(
    model: str | None, remedy: str
) -> None:
    narrow, wide = (_shapes(build(name, classes=3)) for name in ("wrn-16-1", "wrn-16-2"))

    with pytest.raises(RunError) as refused:
        match_tensors(wide, narrow, head="6", source="runs/narrow", model=model)

    (line,) = error_lines(str(refused.value))
    assert re.match(
        r"ravine: runs/narrow does not fit this network: \d+ of \d+ tensors do, but 1\.b", line
    )
    assert "1.branch.0.weight is 16×16×3×3 there and 32×16×3×3 here" in str(refused.value)
    assert line.endswith(f"; {remedy}")


def test_an_auxiliary_head_is_left_out_and_named() -> None:
    network = _shapes(TheirResNet((2, 2, 2, 2), bottleneck=False, classes=2))
    trained = {**network, "aux.weight": (2, 64)}

    assert match_tensors(network, trained, head="fc", source="x").left == ("aux.weight",)
