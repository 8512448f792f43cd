"""Gradients of depthwise filters from the C library, against torch in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.kernels.library import load_library
from ravine.nn.convolution import Conv2d
from ravine.nn.use_kernels import use_kernels_

pytestmark = pytest.mark.skipif(load_library() is None, reason="the C library is not built")


def images(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.contiguous(memory_format=torch.channels_last)


def depthwise(channels: int, kernel: int, **options: object) -> Conv2d:
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, channels, kernel, groups=channels, **options)  # type: ignore[arg-type]
    made = use_kernels_(layer)
    assert isinstance(made, Conv2d)
    return made


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding", "size", "bias"),
    [(40, 7, 1, 3, (9, 6), True), (16, 5, 2, 2, (11, 8), False), (3, 7, 1, 3, (4, 4), True)],
)
def test_its_gradients_are_those_of_the_formula(
    dtype: torch.dtype, channels: int, kernel: int, stride: int, padding: int,
    size: tuple[int, int], bias: bool,
) -> None:  # fmt: skip
    layer = depthwise(channels, kernel, stride=stride, padding=padding, bias=bias)
    x = images(5, channels, *size, seed=1).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        y = layer(x)
    dy = images(*y.shape, seed=2).to(dtype)
    y.backward(dy)

    assert type(y.grad_fn).__name__ == "_DepthwiseBackward"
    wide = [x.detach().double().requires_grad_()]
    wide += [p.detach().to(dtype).double().requires_grad_() for p in layer.parameters()]
    F.conv2d(*wide, stride=stride, padding=padding, groups=channels).backward(dy.double())
    narrow = 1e-2 if dtype is torch.bfloat16 else 1e-5
    found = [x.grad, *(p.grad for p in layer.parameters())]
    for one, wanted, limit in zip(found, wide, [narrow, 1e-5, 1e-5], strict=False):
        assert one is not None
        assert wanted.grad is not None
        assert float((one.double() - wanted.grad).norm() / wanted.grad.norm()) < limit


@pytest.mark.parametrize(
    "layer",
    [
        depthwise(16, 3, padding=1),  # as fast by torch
        depthwise(16, 9, padding=4),
        depthwise(16, 7, padding=3, padding_mode="reflect"),
        depthwise(16, 5, padding=4, dilation=2),
        use_kernels_(nn.Conv2d(16, 32, 5, groups=16)),
        use_kernels_(nn.Conv2d(16, 16, (5, 7), groups=16)),
        depthwise(16, 5, padding="same"),
    ],
    ids=str,
)
def test_other_convolutions_of_few_channels_are_torchs(layer: Conv2d) -> None:
    assert "Depthwise" not in type(layer(images(2, 16, 12, 12, seed=1)).grad_fn).__name__


def test_frozen_filters_and_other_layouts_are_torchs() -> None:
    layer = depthwise(16, 7, padding=3)
    x = images(2, 16, 8, 8, seed=1)
    assert "Depthwise" not in type(layer(x.contiguous()).grad_fn).__name__
    layer.requires_grad_(False)
    assert "Depthwise" not in type(layer(x.requires_grad_()).grad_fn).__name__
    with torch.no_grad():
        assert torch.equal(layer(x), nn.Conv2d.forward(layer, x))


def test_images_that_autocast_narrows_are_taken() -> None:
    layer, x = depthwise(16, 7, padding=3), images(2, 16, 8, 8, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        wide, narrow = layer(x), layer(x.bfloat16())
    assert type(wide.grad_fn).__name__ == "_DepthwiseBackward"
    assert torch.equal(wide, narrow)


def test_its_gradients_can_be_differentiated_again() -> None:
    layer = depthwise(16, 5, padding=2)
    plain = nn.Conv2d(16, 16, 5, padding=2, groups=16)
    plain.load_state_dict(layer.state_dict())
    x = images(2, 16, 6, 6, seed=1)
    found = []
    for module in (layer, plain):
        loss = module(x).square().mean()
        first = torch.autograd.grad(loss, list(module.parameters()), create_graph=True)
        total = sum((one.square().sum() for one in first), start=torch.zeros(()))
        found.append(torch.autograd.grad(total, list(module.parameters())))
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs)


def test_a_gradient_in_another_layout_is_taken() -> None:
    layer, x = depthwise(16, 7, padding=3), images(2, 16, 6, 6, seed=1)
    dy = images(2, 16, 6, 6, seed=2)
    found = []
    for one in (dy, dy.contiguous()):
        again = copy.deepcopy(layer)
        again(x).backward(one)
        found.append(again.weight.grad)
    assert torch.equal(found[0], found[1])
