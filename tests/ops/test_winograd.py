"""Convolutions by Winograd's minimal filtering: each level's code, against float64."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ravine.kernels.library import LEVELS, load_library
from ravine.nn.convolution import Conv2d
from ravine.nn.norm_act import NormAct
from ravine.ops.algorithm import (
    Algorithm,
    ConvolutionShape,
    DTypeName,
    can_run,
    candidates,
)
from ravine.ops.epilogue_statistics import gradient_sums_of, norm_of, output_sums_of
from ravine.ops.kernel_plan import use_algorithms
from ravine.ops.library_convolution import library_convolution

Threads = Callable[[int], AbstractContextManager[None]]


class Code(NamedTuple):
    """One instance of the C code, and its errors at most: relative, also of a few numbers."""

    level: str
    algorithm: Algorithm
    dtype: torch.dtype
    result: float
    weight: float

    @property
    def precision(self) -> DTypeName:
        return "bfloat16" if self.dtype is torch.bfloat16 else "float32"


CODES = (
    Code("avx512-bf16", "winograd-2", torch.bfloat16, 1e-2, 1e-2),
    Code("avx512-bf16", "winograd-4", torch.bfloat16, 4e-2, 4e-2),
    Code("avx512", "winograd-4", torch.float32, 6e-6, 8e-6),
    Code("avx2", "winograd-4", torch.float32, 6e-6, 8e-6),
    Code("base", "winograd-4", torch.float32, 6e-6, 8e-6),
)


@pytest.fixture(
    scope="module", params=CODES, ids=lambda c: f"{c.level}-{c.algorithm}-{c.precision}"
)
def code(request: pytest.FixtureRequest) -> Iterator[Code]:
    """Holds the library down to each level in turn, as far as this processor has them."""
    found: Code = request.param
    library = load_library()
    if library is None or library.level < LEVELS.index(found.level):
        pytest.skip(f"no {found.level} here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_KERNELS", found.level)
        load_library.cache_clear()
        try:
            yield found
        finally:
            load_library.cache_clear()


def images(code: Code, *shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(code.dtype).contiguous(memory_format=torch.channels_last)


def convolution(channels: int, out: int, padding: int = 1, seed: int = 0) -> Conv2d:
    torch.manual_seed(seed)
    layer = Conv2d(channels, out, 3, padding=padding, bias=False)
    return layer.to(memory_format=torch.channels_last)


def autocast(code: Code) -> AbstractContextManager[object]:
    return torch.autocast("cpu", code.dtype) if code.precision == "bfloat16" else nullcontext()


def by_winograd(code: Code, layer: Conv2d, x: Tensor) -> AbstractContextManager[object]:
    shape = ConvolutionShape(
        layer.in_channels, layer.out_channels, x.shape[2], x.shape[3], 3, 1,
        int(layer.padding[0]), code.precision,
    )  # fmt: skip
    return use_algorithms({shape: code.algorithm})


def assert_near(found: Tensor | None, wanted: Tensor | None, error: float) -> None:
    """Checks the root mean square of the error, against that of what is wanted."""
    assert found is not None
    assert wanted is not None
    assert float((found.double() - wanted).norm()) <= error * float(wanted.norm()) + 1e-30


@settings(max_examples=25)
@given(
    batch=st.integers(1, 9),
    channels=st.sampled_from([16, 48, 80]),
    out=st.sampled_from([16, 32, 112]),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    padding=st.integers(0, 4),
    with_residual=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_a_convolution_and_its_gradients_are_those_of_float64(
    code: Code, torch_threads: Threads,
    batch: int, channels: int, out: int, height: int, width: int, padding: int,
    with_residual: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    padding = max(padding, (3 - min(height, width) + 1) // 2)
    layer = convolution(channels, out, padding, seed)
    x = images(code, batch, channels, height, width, seed=seed).requires_grad_()
    size = (height + 2 * padding - 2, width + 2 * padding - 2)
    residual = images(code, batch, out, *size, seed=seed + 1) if with_residual else None
    dy = images(code, batch, out, *size, seed=seed + 2)
    with torch_threads(threads), by_winograd(code, layer, x):
        with autocast(code):
            y = layer(x, residual)
        y.backward(dy)
    assert type(y.grad_fn).__name__ == "_ConvolutionBackward"
    x64 = x.detach().double().requires_grad_()
    w64 = layer.weight.detach().double().requires_grad_()
    y64 = F.conv2d(x64, w64, padding=padding)
    y64.backward(dy.double())
    y64 = y64.detach() if residual is None else y64.detach() + residual.double()
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert_near(y.detach(), y64, code.result)
    assert_near(x.grad, x64.grad, code.result)
    assert_near(layer.weight.grad, w64.grad, code.weight)


def test_no_bit_depends_on_threads_and_no_result_on_its_neighbours(
    code: Code, torch_threads: Threads
) -> None:
    layer = convolution(32, 160)
    x = images(code, 21, 32, 9, 7, seed=1)
    dy = images(code, 21, 160, 9, 7, seed=2)
    found = []
    for threads in (1, 2, 3):
        given = x.clone(memory_format=torch.channels_last).requires_grad_()
        layer.weight.grad = None
        with torch_threads(threads), by_winograd(code, layer, x), autocast(code):
            y = layer(given)
            y.backward(dy)
            single = layer(x[17:18])
        assert given.grad is not None
        assert layer.weight.grad is not None
        sums = output_sums_of(y)
        assert sums is not None
        found.append((y.detach(), given.grad, layer.weight.grad, sums))
        assert torch.equal(single[0], y[17])
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


def test_nan_stays_in_its_image(code: Code) -> None:
    layer = convolution(16, 16)
    x = images(code, 3, 16, 8, 8, seed=1)
    x[1, 3, 4, 4] = torch.nan
    with torch.no_grad(), by_winograd(code, layer, x), autocast(code):
        y = layer(x)
    assert y[1, :, 3:6, 3:6].isnan().all()
    assert y[[0, 2]].isfinite().all()


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 6),
    channels=st.sampled_from([16, 64]),
    out=st.sampled_from([16, 96]),
    height=st.integers(2, 11),
    width=st.integers(2, 11),
    relu=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_norm_inside_a_convolution_is_the_same_to_the_bit(
    code: Code, batch: int, channels: int, out: int, height: int, width: int, relu: bool, seed: int
) -> None:
    """Applied as images are read; its gradient's sums added up as they are written."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm_act = NormAct(norm, nn.ReLU() if relu else nn.Identity()).eval()
    layer = convolution(channels, out, seed=seed)
    x = images(code, batch, channels, height, width, seed=seed)
    dy = images(code, batch, out, height, width, seed=seed + 1)
    with by_winograd(code, layer, x), autocast(code):
        spec = norm_act.for_convolution(x)
        assert spec is not None
        inside, apart = (x.clone(memory_format=torch.channels_last).requires_grad_() for _ in "ab")
        fused, _ = library_convolution(
            inside, layer.weight, None, None, stride=1, padding=1, algorithm=code.algorithm,
            fork=True, norm=spec,
        )  # fmt: skip
        fused.backward(dy)
        weight_gradient, layer.weight.grad = layer.weight.grad, None
        layer(norm_act(apart)).backward(dy)
        plain = layer(norm_act(x))
    assert torch.equal(fused, plain)
    assert weight_gradient is not None
    assert layer.weight.grad is not None
    assert torch.equal(weight_gradient, layer.weight.grad)
    assert inside.grad is not None
    assert apart.grad is not None
    assert torch.equal(inside.grad, apart.grad)


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 6),
    height=st.integers(2, 11),
    width=st.integers(2, 11),
    relu=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_sums_for_norms_are_those_of_what_was_written(
    code: Code, torch_threads: Threads,
    batch: int, height: int, width: int, relu: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(32)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm_act = NormAct(norm, nn.ReLU() if relu else nn.Identity())
    layer = convolution(32, 48, seed=seed)
    x = images(code, batch, 32, height, width, seed=seed).requires_grad_()
    dy = images(code, batch, 48, height, width, seed=seed + 1)
    with torch_threads(threads), by_winograd(code, layer, x), autocast(code):
        active = norm_act(x)
        applied = norm_of(active)
        assert applied is not None
        kept: list[tuple[Tensor, Tensor | None]] = []
        active.register_hook(lambda g: kept.append((g, gradient_sums_of(g, applied.mean))))
        y = layer(active)
        y.backward(dy)
    sums = output_sums_of(y)
    assert sums is not None
    y64 = y.detach().double()
    moments = torch.stack([y64.sum((2, 3)), (y64 * y64).sum((2, 3))], 1)
    torch.testing.assert_close(sums.double(), moments, rtol=1e-5, atol=1e-3)
    ((gradient, found),) = kept
    assert found is not None
    away = x.detach().double() - applied.mean[:, None, None]
    z = away * (applied.rstd * applied.weight)[:, None, None] + applied.bias[:, None, None]
    dz = torch.where(z > 0, gradient.double(), 0.0) if relu else gradient.double()
    wanted = torch.stack([dz.sum((0, 2, 3)), (dz * away).sum((0, 2, 3))])
    sure = z.abs().amin((0, 2, 3)) > 1e-5  # rounding does not decide what the ReLU lets through
    torch.testing.assert_close(
        found.double().sum(0)[:, sure], wanted[:, sure], rtol=1e-4, atol=1e-3
    )


def test_in_float32_gradients_can_be_differentiated_again(code: Code) -> None:
    """As curvature and gradient penalties do, through a norm inside a convolution and after it."""
    if code.precision == "bfloat16":
        pytest.skip("curvature is measured in float32")
    torch.manual_seed(0)
    ours = nn.ModuleList([convolution(16, 32), NormAct(nn.BatchNorm2d(32), nn.ReLU())])
    ours.append(convolution(32, 16))
    x = images(code, 3, 16, 7, 7, seed=1)

    def penalty(fused: bool) -> tuple[Tensor, ...]:
        first, norm_act, last = ours
        if fused:
            assert isinstance(last, Conv2d)
            y, _ = last.norm_act_conv(norm_act, first(x))
        else:
            hidden = norm_act.act(F.batch_norm(
                F.conv2d(x, first.weight, padding=1), None, None,
                norm_act.norm.weight, norm_act.norm.bias, training=True,
            ))  # fmt: skip
            y = F.conv2d(hidden, last.weight, padding=1)
        weights = list(ours.parameters())
        gradients = torch.autograd.grad(y.square().mean(), weights, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), weights)

    first, _, last = ours
    assert isinstance(first, Conv2d)
    assert isinstance(last, Conv2d)
    shapes = {
        ConvolutionShape(c.in_channels, c.out_channels, 7, 7, 3, 1, 1, "float32"): code.algorithm
        for c in (first, last)
    }
    with use_algorithms(shapes):
        found = penalty(fused=True)
    for one, wanted in zip(found, penalty(fused=False), strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, True),
        ({"height": 7, "width": 7}, True),
        ({"kernel": 1, "padding": 0}, False),
        ({"bias": True}, False),
        ({"channels": 24}, False),
        ({"height": 1, "width": 1, "padding": 0}, False),
    ],
)
def test_a_best_guess_is_winograds_where_it_fits(
    code: Code, change: dict[str, int], wanted: bool
) -> None:
    """In bfloat16 both do: F(4x4), of fewer products, is the best guess and F(2x2) the other."""
    shape = replace(
        ConvolutionShape(64, 64, 28, 28, 3, 1, 1, code.precision),
        **change,  # type: ignore[arg-type]
    )
    assert can_run(code.algorithm, shape) is wanted
    if wanted:
        other = "winograd-2" if code.precision == "bfloat16" else "torch"
        assert candidates(shape) == ("winograd-4", other)
    else:
        assert not {"winograd-2", "winograd-4"} & set(candidates(shape))


def test_with_a_stride_products_of_vectors_are_the_best_guess_and_torch_the_other(
    code: Code,
) -> None:
    shape = ConvolutionShape(64, 64, 28, 28, 3, 2, 1, code.precision)
    assert not can_run(code.algorithm, shape)
    assert candidates(shape) == ("direct", "torch")
