"""The small network for quick results: what it starts as."""

import pytest
import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.models import build
from ravine.models.swift import Swift, Whitening
from ravine.nn.convolution import Conv2d
from ravine.nn.init import init_


def correlated_images(count: int = 200, channels: int = 3, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, channels, size + 3, size + 3, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 4, stride=1)
    mixing = torch.tensor([[1.0, 0.8, 0.6], [0.2, 1.0, 0.9], [0.1, 0.3, 1.0]])
    return torch.einsum("ij,bjhw->bihw", mixing[:channels, :channels], smooth) * 4


def test_whitened_patches_are_uncorrelated_with_variance_one() -> None:
    images = correlated_images()
    layer = Whitening(3, stride=1)
    layer.fit_(images)
    out = layer(images)
    assert out.shape == (200, 32, 15, 15)
    flat = out.permute(1, 0, 2, 3).reshape(32, -1).double()
    assert not flat[24:].any()
    torch.testing.assert_close(flat[12:24], -flat[:12])
    second = flat[:12] @ flat[:12].T / flat.shape[1]
    # ε keeps directions without variance from being blown up: a little below 1, never above.
    variances = second.diagonal()
    assert float(variances.max()) <= 1.001
    assert float(variances[:6].min()) > 0.9
    off = second - torch.diag(variances)
    assert float(off.abs().max()) < 1e-3


def test_convolutions_begin_as_the_identity_on_filled_channels() -> None:
    model = build("swift-1", classes=10, channels=3, image_size=32)
    init_(model)
    layers = [layer for layer in model.modules() if isinstance(layer, Conv2d)]
    assert [layer.out_channels for layer in layers] == [64, 64, 256, 256, 256, 256]
    for layer, filled in zip(layers, (24, 64, 64, 256, 256, 256), strict=True):
        x = torch.randn(2, layer.in_channels, 5, 5)
        same = layer(x)[:, :filled]
        torch.testing.assert_close(same, x[:, : same.shape[1]])
        assert layer.weight[filled:].abs().sum() > 0 or filled == layer.out_channels


def test_every_channel_of_every_norm_has_variance_at_the_start() -> None:
    """The identity on one of the whitening's empty channels would have none."""
    model = build("swift-1", classes=10, channels=1, image_size=28)
    init_(model)
    assert isinstance(model, Swift)
    images = correlated_images(64, 1, 28)
    model.fit_(images)
    model(images)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 6
    for norm in norms:
        batch_var = (norm.running_var - 0.6) / 0.4  # type: ignore[operator]
        assert float(batch_var.min()) > 1e-4


def test_whitening_and_scales_do_not_learn() -> None:
    model = build("swift-1", classes=10, channels=3, image_size=32)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any("0.convolution" in name or "norm.weight" in name for name in learning)
    assert sum(name.endswith("norm.bias") for name in learning) == 6


def test_width_and_switches() -> None:
    wide = build("swift-2", classes=4, channels=1, image_size=14, norm="group", dropout=0.1)
    assert wide(torch.randn(2, 1, 14, 14)).shape == (2, 4)
    assert any(p.requires_grad for n, p in wide.named_parameters() if "norm.weight" in n)
    with pytest.raises(SettingError, match="at least 14×14"):
        build("swift-1", classes=4, channels=1, image_size=13)
    with pytest.raises(SettingError, match="skip"):
        build("swift-1", classes=4, skip=False)
    with pytest.raises(SettingError, match="swift-0"):
        build("swift-0", classes=4)
