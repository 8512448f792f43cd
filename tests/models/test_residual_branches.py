"""What residual blocks promise: an untouched path, branches that learn, true gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.models import build
from ravine.models.settings import ModelSettings
from ravine.nn import ACTIVATIONS, init_

NETS = ("wrn-10-2", "preact-11", "resnet-cifar-8", "resnet-18")


def _ends(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if getattr(m, "ends_residual_branch", False)]


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("name", NETS)
def test_a_branch_that_starts_at_zero_adds_nothing_and_yet_learns(name: str, norm: str) -> None:
    torch.manual_seed(0)
    model = build(name, classes=3, image_size=8, norm=norm)  # type: ignore[arg-type]
    init_(model, zero_residual=True, generator=torch.Generator().manual_seed(0))
    blocks = [m for m in model.modules() if hasattr(m, "last")]
    assert len(_ends(model)) == len(blocks)
    x, labels = torch.randn(8, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    F.cross_entropy(model(x), labels).backward()
    for end in _ends(model):
        assert float(end.weight.detach().abs().max()) == 0
        assert float(end.weight.grad.abs().max()) > 0


def test_zero_init_is_refused_where_there_is_no_residual_branch() -> None:
    for values in ({"skip": False}, {"model": "alexnet"}):
        with pytest.raises(SettingError, match="zero_init"):
            ModelSettings.of({"model": "wrn-10-1", "zero_init": True, **values})
    with pytest.raises(SettingError, match="no residual branch"):
        init_(build("wrn-10-1", classes=2, skip=False), zero_residual=True)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("name", ["wrn-10-1", "preact-11", "resnet-cifar-8"])
def test_a_block_leaves_its_input_as_it_is(name: str, norm: str) -> None:
    model = build(name, classes=3, image_size=8, norm=norm)  # type: ignore[arg-type]
    block = next(m for m in model.modules() if hasattr(m, "last"))
    x = torch.randn(2, 16, 8, 8)
    before = x.clone()
    with torch.no_grad():
        block(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["wrn-10-1", "preact-11", "resnet-cifar-8"])
def test_activations_in_place_give_the_gradients_of_those_that_copy(
    name: str, activation: str, norm: str
) -> None:
    torch.manual_seed(0)
    ours = build(name, classes=3, image_size=8, activation=activation, norm=norm).double()  # type: ignore[arg-type]
    copying = copy.deepcopy(ours)
    for module in copying.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    for model in (ours, copying):
        model(x).square().sum().backward()
    for a, b in zip(ours.parameters(), copying.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


def test_a_wide_resnet_computes_what_one_written_by_hand_computes() -> None:
    torch.manual_seed(0)
    model = build("wrn-10-2", classes=5, image_size=12).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    convs = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]

    def active(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        scaled = (x - mean) / (var + 1e-5).sqrt()
        return (scaled * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)

    with torch.no_grad():
        images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
        x = F.conv2d(images, convs[0], padding=1)
        for stage in range(3):
            first, second, shortcut = convs[1 + 3 * stage : 4 + 3 * stage]
            stride = 2 if stage else 1
            a = active(x, norms[2 * stage])
            inner = active(F.conv2d(a, first, stride=stride, padding=1), norms[2 * stage + 1])
            x = F.conv2d(inner, second, padding=1) + F.conv2d(a, shortcut, stride=stride)
        expected = model[-1](active(x, norms[-1]).mean((2, 3)))
        torch.testing.assert_close(model(images), expected, rtol=1e-10, atol=1e-10)


def test_shortcuts_without_parameters_take_every_second_pixel_and_add_zeros() -> None:
    model = build("resnet-cifar-8", classes=3, image_size=8)
    shortcut = next(m for m in model.modules() if type(m).__name__ == "PaddedShortcut")
    x = torch.randn(2, 16, 5, 5)
    out = shortcut(x)
    assert out.shape == (2, 32, 3, 3)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert float(out[:, :8].abs().max()) == float(out[:, 24:].abs().max()) == 0
