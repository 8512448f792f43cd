"""Convolutions in tiles, their gradients and their output sums, against float64."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ravine.nn.convolution import Conv2d
from ravine.nn.norm_act import NormAct
from ravine.ops.epilogue_statistics import output_sums_of

pytestmark = pytest.mark.usefixtures("tiles")
Threads = Callable[[int], AbstractContextManager[None]]


def images(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.bfloat16().contiguous(memory_format=torch.channels_last)


def run(layer: Conv2d, x: Tensor, dy_seed: int) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    dy = images(*y.shape, seed=dy_seed)
    y.backward(dy)
    return y.detach(), dy


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 7),
    channels=st.sampled_from([16, 48]),
    out=st.sampled_from([16, 32, 80]),
    height=st.integers(5, 17),
    width=st.integers(5, 17),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    bias=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_gradients_are_those_of_float64(
    torch_threads: Threads,
    batch: int, channels: int, out: int, height: int, width: int, kernel: int, stride: int,
    padding: int, bias: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    layer = Conv2d(channels, out, kernel, stride, padding, bias=bias)
    layer = layer.to(memory_format=torch.channels_last)
    x = images(batch, channels, height, width, seed=seed).requires_grad_()
    with torch_threads(threads):
        y, dy = run(layer, x, seed + 1)
    x64 = x.detach().double().requires_grad_()
    weight = layer.weight.detach().bfloat16().double().requires_grad_()
    bias64 = None if layer.bias is None else layer.bias.detach().bfloat16().double()
    y64 = F.conv2d(x64, weight, bias64, stride, padding)
    y64.backward(dy.double())
    torch.testing.assert_close(
        y.double(), y64.detach(), rtol=2**-7, atol=2e-3 * float(y64.detach().abs().max())
    )
    assert layer.weight.grad is not None
    assert weight.grad is not None
    scale = float(weight.grad.abs().max())
    # float32 sums: no rounding to bfloat16 on the way
    torch.testing.assert_close(
        layer.weight.grad.double(), weight.grad, rtol=1e-4, atol=1e-5 * scale
    )
    assert x.grad is not None
    assert x64.grad is not None
    torch.testing.assert_close(
        x.grad.double(), x64.grad, rtol=2**-7, atol=2e-3 * float(x64.grad.abs().max())
    )
    if layer.bias is not None:
        assert layer.bias.grad is not None
        wanted = dy.double().sum((0, 2, 3))
        torch.testing.assert_close(
            layer.bias.grad.double(), wanted, rtol=2**-7, atol=0.05 * float(wanted.abs().max())
        )


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 9),
    channels=st.sampled_from([32, 96]),
    out=st.sampled_from([32, 64]),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    with_residual=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_a_convolution_3x3_is_that_of_float64(
    torch_threads: Threads,
    batch: int, channels: int, out: int, height: int, width: int, with_residual: bool, threads: int,
    seed: int,
) -> None:  # fmt: skip
    layer = Conv2d(channels, out, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = images(batch, channels, height, width, seed=seed).requires_grad_()
    residual = images(batch, out, height, width, seed=seed + 1) if with_residual else None
    dy = images(batch, out, height, width, seed=seed + 2)
    with torch_threads(threads):
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x, residual)
        y.backward(dy)
    assert type(y.grad_fn).__name__ == "_ConvolutionBackward"
    x64 = x.detach().double().requires_grad_()
    weight = layer.weight.detach().bfloat16().double()
    y64 = F.conv2d(x64, weight, padding=1)
    y64.backward(dy.double())
    if residual is not None:
        y64 = y64.detach() + residual.double()
    assert x.grad is not None
    assert x64.grad is not None
    for found, wanted in ((y.detach(), y64.detach()), (x.grad, x64.grad)):
        assert found.is_contiguous(memory_format=torch.channels_last)
        # rounded once, to bfloat16
        torch.testing.assert_close(
            found.double(), wanted, rtol=2**-8, atol=1e-4 * float(wanted.abs().max())
        )


def test_a_convolution_does_not_depend_on_threads_or_neighbours(torch_threads: Threads) -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = images(50, 32, 9, 7, seed=1)
    found = []
    for threads in (1, 2, 3):
        with torch_threads(threads), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            found.append(layer(x))
            few = layer(x[17:21])  # up to three images without gradients are torch's
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert torch.equal(few, found[0][17:21])


def test_nan_reaches_its_neighbours_and_nobody_else() -> None:
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = images(3, 32, 6, 6, seed=1)
    x[1, 5, 0, 5] = float("nan")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        broken = layer(x).isnan()
    assert broken[1, :, :2, 4:].all()
    assert broken.sum() == 32 * 4


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 40),
    channels=st.sampled_from([32, 96]),
    out=st.sampled_from([32, 64]),
    height=st.integers(1, 9),
    width=st.integers(1, 40),
    with_residual=st.booleans(),
    stride=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_output_sums_are_those_of_each_image_whatever_the_threads(
    torch_threads: Threads,
    batch: int, channels: int, out: int, height: int, width: int, with_residual: bool, stride: int,
    seed: int,
) -> None:  # fmt: skip
    layer = Conv2d(channels, out, 3, stride, padding=1, bias=False)
    layer = layer.to(memory_format=torch.channels_last)
    x = images(batch, channels, height, width, seed=seed)
    size = (-(-height // stride), -(-width // stride))
    residual = images(batch, out, *size, seed=seed + 1) if with_residual else None
    found = []
    for threads in (1, 2, 3):
        with torch_threads(threads), torch.autocast("cpu", torch.bfloat16):
            y = layer(x, residual)
        sums = output_sums_of(y)
        assert sums is not None
        found.append(sums)
    y64 = y.detach().double()
    wanted = torch.stack([y64.sum((2, 3)), y64.square().sum((2, 3))], 1)
    torch.testing.assert_close(found[0].double(), wanted, rtol=1e-4, atol=1e-3)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_norm_takes_the_output_sums_unless_the_output_has_changed() -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = images(20, 32, 9, 7, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    alone = y.detach().clone(memory_format=torch.channels_last)
    assert output_sums_of(y) is not None
    assert output_sums_of(alone) is None
    norms = [NormAct(nn.BatchNorm2d(64), nn.ReLU()) for _ in range(2)]
    torch.testing.assert_close(norms[0](y), norms[1](alone), rtol=2**-7, atol=1e-2)
    for name in ("running_mean", "running_var"):
        left, measured = (getattr(norm.norm, name) for norm in norms)
        torch.testing.assert_close(left, measured, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        y.add_(1)
    assert output_sums_of(y) is None
    norms[0](y)
    moved = norms[0].norm.running_mean - 0.9 * norms[1].norm.running_mean  # type: ignore[operator]
    wanted = 0.1 * y.detach().double().mean((0, 2, 3))
    torch.testing.assert_close(moved.double(), wanted, rtol=1e-4, atol=1e-5)


def test_no_sums_are_made_where_nothing_learns() -> None:
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert output_sums_of(layer(images(2, 32, 4, 4, seed=0))) is None
