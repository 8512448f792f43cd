"""Networks of others, the switches that do not reach them, and the table of any network."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ravine.cli.error_line import error_lines
from ravine.core.errors import SettingError
from ravine.models import build, summary, timm_library
from ravine.models.settings import ModelSettings


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nosuchthing\n", r"cannot be imported: ModuleNotFoundError.*nosuchthing"),
        ("def net(:\n", "cannot be imported: SyntaxError"),
        ("1 / 0\n", r"cannot be imported: ZeroDivisionError.*brokennet\d\.py, line 1"),
        ("net = 3\n", "'net' cannot be called"),
        ("def net(depth):\n    return depth\n", "could not be made: TypeError.*depth"),
        ("def net():\n    raise ValueError('a\\nb')\n", r"ValueError: a \(.*line 2\)"),
    ],
)
def test_a_network_of_ones_own_that_fails_is_told_in_one_line(
    here: Path, code: str, message: str, request: pytest.FixtureRequest
) -> None:
    module = f"brokennet{abs(hash(code)) % 10}"
    (here / f"{module}.py").write_text(code)
    request.addfinalizer(lambda: sys.modules.pop(module, None))
    with pytest.raises(SettingError, match=message) as caught:
        build(f"{module}:net", classes=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "switches", "setting"),
    [
        ("some:net", {"skip": False}, "skip"),
        ("some:net", {"dropout": 0.3}, "dropout"),
        ("some:net", {"norm": "group"}, "norm"),
        ("timm/resnet18", {"dropout_form": "classic"}, "dropout_form"),
        ("alexnet", {"norm": "group"}, "norm=group"),
    ],
)
def test_a_switch_without_effect_is_refused(name: str, switches: dict, setting: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(SettingError, match=setting):
        build(name, classes=3, image_size=32, **switches)
    with pytest.raises(SettingError, match=setting):  # before any data is read
        ModelSettings.of({"model": name, **switches}).check_network()


class _Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(4))
        self.convolution = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(4, 2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(self.convolution(x + self.offset[:, None, None]))
        return self.up(x).mean((2, 3))


def test_the_table_counts_shared_grouped_transposed_and_bare_parameters() -> None:
    model = _Odd()
    model.up.eval()
    rows = summary(model, channels=4, image_size=6)
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())
    by_layer = {row.layer: row for row in rows}
    assert by_layer["convolution"].multiply_adds == 36 * (4 * 2 * 9)
    assert [row.layer for row in rows].count("convolution") == 2
    assert by_layer["up"].multiply_adds == 36 * (4 * 2 * 4)
    assert model.training
    assert not model.up.training


def test_the_multiply_adds_of_resnet_50_are_those_of_the_literature() -> None:
    with torch.device("meta"):
        model = build("resnet-50", classes=1000, image_size=224)
    rows = summary(model, channels=3, image_size=224)
    # 4.09 G: the stride stands on the 3×3 convolution.
    assert sum(row.multiply_adds for row in rows) == 4_089_184_256


@pytest.mark.parametrize("name", ["alexnet", "alexnet-2014"])
def test_alexnet_takes_images_from_15_pixels_on(name: str) -> None:
    for size in (15, 16, 63, 64, 65, 159, 160):
        with torch.device("meta"):
            model = build(name, classes=2, image_size=size)
            assert model.eval()(torch.empty(1, 3, size, size)).shape == (1, 2)
    with pytest.raises(SettingError, match="at least 15×15, got 14"):
        build(name, classes=2, image_size=14)


@pytest.mark.parametrize("torch_version", ["2.13.0", "2.13.0+cpu"])
def test_an_unfit_torchvision_is_named_with_a_command_that_can_be_pasted(
    torch_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    versions = {"torch": torch_version, "torchvision": "0.28.0"}
    monkeypatch.setattr(timm_library.importlib, "import_module", load)
    monkeypatch.setattr(timm_library, "version", versions.__getitem__)

    with pytest.raises(SettingError) as refused:
        timm_library.load_timm("timm/resnet18")

    said, command = error_lines(str(refused.value))
    assert f"torchvision 0.28.0 does not fit torch {torch_version} (" in said
    assert ("its build +cpu" in said) == torch_version.endswith("+cpu")
    assert command == "pip install --force-reinstall --no-deps 'torchvision==0.28.*'"
