import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ravine.core.errors import SettingError
from ravine.models import build, describe_stem, summary
from ravine.models.table import FAMILIES

# Published counts, to the unit where methods give them so.
EXACT = {
    ("alexnet", 1000, 224): 60_965_224,
    ("alexnet", 1000, 227): 60_965_224,
    ("alexnet-2014", 1000, 224): 61_100_840,
    ("resnet-18", 1000, 224): 11_689_512,
    ("resnet-34", 1000, 224): 21_797_672,
    ("resnet-50", 1000, 224): 25_557_032,
    ("resnet-101", 1000, 224): 44_549_160,
    ("resnet-152", 1000, 224): 60_192_808,
}
ROUNDED = {
    "resnet-cifar-20": (0.27, 2),
    "resnet-cifar-32": (0.46, 2),
    "resnet-cifar-44": (0.66, 2),
    "resnet-cifar-56": (0.853, 3),
    "resnet-cifar-110": (1.73, 2),
    "preact-164": (1.70, 2),
    "preact-1001": (10.33, 2),
    "wrn-40-1": (0.6, 1),
    "wrn-40-2": (2.2, 1),
    "wrn-40-4": (8.9, 1),
    "wrn-16-4": (2.7, 1),
    "wrn-16-8": (11.0, 1),
    "wrn-16-10": (17.1, 1),
    "wrn-22-8": (17.2, 1),
    "wrn-22-10": (26.8, 1),
    "wrn-28-10": (36.5, 1),
    "wrn-28-12": (52.5, 1),
}


def _count(name: str, classes: int, size: int, **switches: object) -> int:
    with torch.device("meta"):
        model = build(name, classes=classes, image_size=size, **switches)  # type: ignore[arg-type]
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("key", "count"), EXACT.items(), ids=str)
def test_counts_are_those_of_the_papers_to_the_unit(key: tuple[str, int, int], count: int) -> None:
    assert _count(*key) == count


@pytest.mark.parametrize(("name", "millions"), ROUNDED.items())
def test_counts_round_to_those_of_the_papers(name: str, millions: tuple[float, int]) -> None:
    assert round(_count(name, 10, 32) / 1e6, millions[1]) == millions[0]


@given(st.integers(1, 5), st.integers(1, 6), st.integers(2, 20), st.sampled_from([1, 3]))
@settings(max_examples=25, deadline=None)
def test_a_wide_resnet_has_the_parameters_that_adding_up_gives(
    n: int, k: int, classes: int, channels: int
) -> None:
    total, width = 9 * channels * 16, 16
    for out in (16 * k, 32 * k, 64 * k):
        for block in range(n):
            total += 2 * width + 9 * width * out + 2 * out + 9 * out * out
            if block == 0 and (width != out or out != 16 * k):
                total += width * out
            width = out
    total += 2 * width + width * classes + classes
    with torch.device("meta"):
        model = build(f"wrn-{6 * n + 4}-{k}", classes=classes, channels=channels)
    assert sum(p.numel() for p in model.parameters()) == total


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("alexnet", 28),
        ("alexnet", 64),
        ("alexnet-2014", 96),
        ("resnet-cifar-8", 28),
        ("preact-11", 32),
        ("resnet-18", 28),
        ("resnet-18", 96),
        ("resnet-50", 33),
        ("wrn-10-2", 8),
        ("wrn-10-1", 97),
        ("wrn-10-1", 130),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_take_images_of_many_sizes(name: str, size: int, channels: int) -> None:
    model = build(name, classes=7, channels=channels, image_size=size).eval()
    with torch.no_grad():
        assert model(torch.randn(2, channels, size, size)).shape == (2, 7)
    assert f"{size}×{size}" in describe_stem(name, size)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize(
    "activation", ["relu", "leaky-relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
)
def test_every_switch_gives_gradients_to_every_parameter(norm: str, activation: str) -> None:
    torch.manual_seed(0)
    for name in ("wrn-10-1", "resnet-cifar-8", "preact-11"):
        model = build(name, classes=3, image_size=8, norm=norm, activation=activation, dropout=0.1)  # type: ignore[arg-type]
        model(torch.randn(4, 3, 8, 8)).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", ["wrn-10-2", "resnet-cifar-8", "resnet-18", "preact-11"])
def test_without_skip_connections_no_signal_passes_around_a_block(name: str) -> None:
    for skip in (True, False):
        torch.manual_seed(0)
        model = build(name, classes=3, image_size=16, skip=skip)
        blocks = [m for m in model.modules() if hasattr(m, "last")]
        assert blocks
        with torch.no_grad():
            for block in blocks:
                block.last.weight.zero_()
        differ = model.eval()(torch.randn(2, 3, 16, 16)).std(0).max() > 1e-6
        assert bool(differ) == skip


def test_plain_networks_lose_only_their_projections() -> None:
    assert _count("resnet-cifar-20", 10, 32) == _count("resnet-cifar-20", 10, 32, skip=False)
    lost = 64 * 128 + 2 * 128 + 128 * 256 + 2 * 256 + 256 * 512 + 2 * 512
    assert _count("resnet-18", 10, 32) - _count("resnet-18", 10, 32, skip=False) == lost
    with pytest.raises(SettingError, match="no skip connections"):
        build("alexnet", classes=10, image_size=224, skip=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrn-17-4", r"the depth must be 6N\+4, got 17; nearest that work: 16 and 22"),
        ("wrn-3-4", "nearest that work: 10"),
        ("wrn-16-0", "the width must be at least 1"),
        ("resnet-cifar-21", "nearest that work: 20 and 26"),
        ("preact-100", "nearest that work: 92 and 101"),
        ("resnet-19", "nearest: 18"),
        ("renset-18", "did you mean 'resnet-18'"),
        ("nomodule:net", "no module 'nomodule'"),
        ("timm/resnet18", r"needs timm: pip install 'ravine\[timm\]'"),
    ],
)
def test_a_name_that_does_not_fit_is_told_with_what_would(name: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build(name, classes=10)


def test_dropout_may_differ_by_stage() -> None:
    model = build("wrn-10-1", classes=3, dropout=(0.1, 0.0, 0.3))
    assert [m.p for m in model.modules() if type(m).__name__ == "Dropout"] == [0.1, 0.3]
    with pytest.raises(SettingError, match="one for each of the 3 stages"):
        build("wrn-10-1", classes=3, dropout=(0.1, 0.2))


def test_a_network_of_ones_own_gets_what_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ownnets.py").write_text(
        "from torch import nn\n"
        "def net(classes, channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, classes))\n"
        "def wrong():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert build("ownnets:net", classes=5, channels=1, image_size=4)[1].weight.shape == (5, 16)
    with pytest.raises(SettingError, match=r"made a int and no torch\.nn\.Module"):
        build("ownnets:wrong", classes=5)
    with pytest.raises(SettingError, match="has no 'absent'"):
        build("ownnets:absent", classes=5)


@pytest.mark.parametrize(
    ("name", "millions"),
    [pair for family in FAMILIES.values() for pair in family.parameters.items()],
)
def test_the_table_of_networks_has_their_parameters(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = build(name, classes=10, channels=3, image_size=32)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_summary_counts_parameters_and_multiply_adds() -> None:
    model = build("wrn-10-1", classes=10, channels=1, image_size=28)
    rows = summary(model, channels=1, image_size=28)
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())
    first = rows[0]
    assert (first.kind, first.output_shape) == ("Conv2d", (16, 28, 28))
    assert first.multiply_adds == 16 * 1 * 9 * 28 * 28
    assert rows[-1].multiply_adds == 64 * 10
    assert isinstance(model, nn.Sequential)
