"""A norm before a convolution: its gradient sums, and both as one function."""

import copy
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
from ravine.ops.epilogue_statistics import gradient_sums_of, norm_of

pytestmark = pytest.mark.usefixtures("tiles")
Threads = Callable[[int], AbstractContextManager[None]]


def images(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.bfloat16().contiguous(memory_format=torch.channels_last)


def norm_act(channels: int, relu: bool, seed: int) -> NormAct:
    """Returns a norm with random weights; seeds the layers that are made after it."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return NormAct(norm, nn.ReLU() if relu else nn.Identity())


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 7),
    channels=st.sampled_from([16, 64]),
    out=st.sampled_from([16, 96]),
    height=st.integers(3, 13),
    width=st.integers(3, 13),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    relu=st.booleans(),
    fork=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_a_norm_before_a_convolution_has_the_gradients_of_float64(
    torch_threads: Threads,
    batch: int, channels: int, out: int, height: int, width: int, kernel: int, stride: int,
    relu: bool, fork: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    """The convolution's backward pass adds up the sums for the norm's gradients."""
    norm = norm_act(channels, relu, seed)
    layer = Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    layer = layer.to(memory_format=torch.channels_last)
    x = images(batch, channels, height, width, seed=seed).requires_grad_()
    with torch_threads(threads):
        with torch.autocast("cpu", torch.bfloat16):
            active = norm(x)
            active.retain_grad()
            y, same = layer.forward_and_fork(active) if fork else (layer(active), active)
        dy, more = images(*y.shape, seed=seed + 1), images(*x.shape, seed=seed + 2)
        torch.autograd.backward([y, same], [dy, more if fork else torch.zeros_like(more)])
    assert active.grad is not None
    # Its own arithmetic from here: of the gradient as it was, rounded to bfloat16.
    x64, d64 = x.detach().double(), active.grad.double()
    weight, bias = norm.norm.weight.detach().double(), norm.norm.bias.detach().double()
    var, mean = torch.var_mean(x64, (0, 2, 3), correction=0, keepdim=True)
    normed = (x64 - mean) / (var + norm.norm.eps).sqrt()
    z = normed * weight[:, None, None] + bias[:, None, None]
    dz = torch.where(z > 0, d64, 0.0) if relu else d64
    sure = z.abs().amin((0, 2, 3)) > 1e-5  # rounding does not decide what the ReLU lets through
    for found, wanted in (
        (norm.norm.weight.grad, (dz * normed).sum((0, 2, 3))),
        (norm.norm.bias.grad, dz.sum((0, 2, 3))),
    ):
        assert found is not None
        scale = float(d64.abs().sum((0, 2, 3)).max())
        torch.testing.assert_close(found.double()[sure], wanted[sure], rtol=1e-4, atol=1e-5 * scale)
    wanted64 = F.conv_transpose2d(
        dy.double(), layer.weight.detach().bfloat16().double(), None, stride, kernel // 2,
        output_padding=[
            side - ((out_side - 1) * stride - 2 * (kernel // 2) + kernel)
            for side, out_side in zip(x.shape[2:], y.shape[2:], strict=True)
        ],
    ) + (more.double() if fork else 0.0)  # fmt: skip
    torch.testing.assert_close(d64, wanted64, rtol=2**-7, atol=4e-3 * float(wanted64.abs().max()))


def test_gradient_sums_are_attached_and_hold_as_long_as_nobody_changes_the_gradient() -> None:
    norm = NormAct(nn.BatchNorm2d(32), nn.ReLU())
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x, dy = images(3, 32, 6, 6, seed=1), images(3, 32, 6, 6, seed=2)

    def gradients(change: str) -> tuple[bool, Tensor]:
        found = []

        def look(gradient: Tensor) -> Tensor | None:
            made = norm_of(active)
            assert made is not None
            if change == "doubled in place":
                gradient.mul_(2)
            found.append(gradient_sums_of(gradient, made.mean) is not None)
            return gradient * 2 if change == "another" else None

        norm.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            active = norm(x.clone().requires_grad_())
            active.register_hook(look)
            y = layer(active)
            if change == "used twice":
                y = y + layer(active)
        y.backward(dy)
        grad = norm.norm.weight.grad
        assert isinstance(grad, Tensor)
        return found[0], grad.clone()

    left, plain = gradients("none")
    assert left
    for change in ("doubled in place", "another", "used twice"):
        left, twice = gradients(change)
        assert left == (change == "another")
        torch.testing.assert_close(twice, 2 * plain, rtol=1e-2, atol=1e-2)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 7),
    channels=st.sampled_from([16, 64]),
    out=st.sampled_from([16, 96]),
    height=st.integers(3, 13),
    width=st.integers(3, 13),
    kernel=st.sampled_from([3, 5]),
    stride=st.integers(1, 3),
    relu=st.booleans(),
    with_residual=st.booleans(),
    training=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_norm_act_conv_is_the_norm_and_then_the_convolution(
    torch_threads: Threads,
    batch: int, channels: int, out: int, height: int, width: int, kernel: int, stride: int,
    relu: bool, with_residual: bool, training: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    """Bit for bit, forward and backward."""
    norm = norm_act(channels, relu, seed)
    first = Conv2d(channels, channels, 3, padding=1, bias=False)
    second = Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    inside = nn.ModuleList([first, norm, second]).to(memory_format=torch.channels_last)
    inside.train(training)
    before = copy.deepcopy(inside)
    x = images(batch, channels, height, width, seed=seed)
    size = [(side - 1) // stride + 1 for side in (height, width)]
    residual = images(batch, out, *size, seed=seed + 1) if with_residual else None
    dy = images(batch, out, *size, seed=seed + 2)
    more = images(*x.shape, seed=seed + 3)
    results = []
    with torch_threads(threads):
        for layers, goes_inside in ((inside, True), (before, False)):
            one, middle, two = layers
            start = x.clone(memory_format=torch.channels_last).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16):
                h = one(start)
                if goes_inside:
                    y, h = two.norm_act_conv(middle, h, residual)
                    assert "NormActConvolution" in type(y.grad_fn).__name__
                else:
                    active, h = middle.forward_and_fork(h)
                    y = two(active, residual)
            torch.autograd.backward([y, h], [dy, more])
            state = [*layers.parameters(), *layers.buffers()]
            results.append([y, start.grad, *(p.grad for p in layers.parameters()), *state])
    for found, wanted in zip(*results, strict=True):
        assert torch.equal(found, wanted)


def test_hooks_on_a_norm_are_called_and_other_norms_stay_outside_the_convolution() -> None:
    first, second = (Conv2d(32, 32, 3, padding=1, bias=False) for _ in range(2))
    x = images(2, 32, 6, 6, seed=1)

    def goes_inside(norm: NormAct, x: Tensor) -> bool:
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = second.norm_act_conv(norm, first(x))
            with torch.no_grad():
                wanted = second(norm(first(x)))
        torch.testing.assert_close(y.float(), wanted.float(), rtol=2e-2, atol=2e-2)
        return "NormActConvolution" in type(y.grad_fn).__name__

    first.to(memory_format=torch.channels_last)
    second.to(memory_format=torch.channels_last)
    assert goes_inside(NormAct(nn.BatchNorm2d(32), nn.ReLU()), x)
    assert not goes_inside(NormAct(nn.BatchNorm2d(32), nn.GELU()), x)
    assert not goes_inside(NormAct(nn.GroupNorm(4, 32), nn.ReLU()), x)
    seen: list[str] = []
    for place in ("norm", "act", "itself"):
        norm = NormAct(nn.BatchNorm2d(32), nn.ReLU())
        hooked = {"norm": norm.norm, "act": norm.act, "itself": norm}[place]
        hooked.register_forward_hook(lambda *_, place=place: seen.append(place))
        assert not goes_inside(norm, x)
    assert set(seen) == {"norm", "act", "itself"}
