"""Pooling through the C library against torch's, bit for bit."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ravine.kernels.library import Library, load_library
from ravine.nn.max_pooling import MaxPool2d

pytestmark = pytest.mark.skipif(load_library() is None, reason="no C library here")


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 4),
    channels=st.sampled_from([1, 5, 16, 40]),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    dtype=st.sampled_from([torch.bfloat16, torch.float32]),
    levels=st.sampled_from([2, 1000]),
    bad=st.sampled_from([None, math.nan, math.inf, -math.inf]),
    seed=st.integers(0, 1000),
)
def test_results_and_gradients_are_torchs(
    batch: int, channels: int, height: int, width: int, dtype: torch.dtype, levels: int,
    bad: float | None, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    # Few levels: many equal neighbours, of which the first counts.
    x = torch.randint(levels, (batch, channels, height, width)).to(dtype) - levels // 2
    x = x.contiguous(memory_format=torch.channels_last)
    if bad is not None:
        x[0, 0, 1, 0] = bad
        x[-1, -1, 0, 1] = bad
    own, torchs = x.clone().requires_grad_(), x.float().requires_grad_()
    y, wanted = MaxPool2d(2)(own), nn.MaxPool2d(2)(torchs)
    assert y.dtype is dtype
    assert "MaxPool2x2" in type(y.grad_fn).__name__
    torch.testing.assert_close(y.float(), wanted, rtol=0, atol=0, equal_nan=True)
    dy = torch.randn(wanted.shape).to(dtype)
    y.backward(dy)
    wanted.backward(dy.float())
    assert own.grad is not None
    assert torchs.grad is not None
    assert torch.equal(own.grad.float(), torchs.grad)


library = load_library()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("level", range(library.level + 1) if library else [])
def test_the_code_of_every_level_gives_torchs_results(
    level: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library is not None
    at_level = Library(library.functions, level)
    monkeypatch.setattr("ravine.ops.library_inputs.load_library", lambda: at_level)
    test_results_and_gradients_are_torchs.hypothesis.inner_test(  # type: ignore[attr-defined]
        batch=2, channels=21, height=7, width=6, dtype=dtype, levels=5, bad=math.nan, seed=level
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_gradient_can_be_differentiated_again(dtype: torch.dtype) -> None:
    """As a gradient penalty does; a last odd row and column have no gradient."""
    drawn = torch.randn(3, 20, 7, 5).to(dtype).contiguous(memory_format=torch.channels_last)
    found = []
    for layer, x in ((MaxPool2d(2), drawn), (nn.MaxPool2d(2), drawn.double())):
        x.requires_grad_()
        value = layer(x).square().sum()
        (first,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad((first**3).sum(), x)
        found.append((first.detach().double(), second.double()))
    for one, wanted in zip(*found, strict=True):
        torch.testing.assert_close(one, wanted, rtol=4 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("options", [{"kernel_size": 3}, {"kernel_size": 2, "padding": 1}])
def test_other_poolings_are_torchs(options: dict[str, int]) -> None:
    x = torch.randn(2, 16, 8, 8).bfloat16().contiguous(memory_format=torch.channels_last)
    assert torch.equal(MaxPool2d(**options)(x), nn.MaxPool2d(**options)(x))
