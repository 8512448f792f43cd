"""Local response normalisation through the C library, against float64 loops of the formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ravine.kernels.library import Library, load_library
from ravine.nn.response_norm import LocalResponseNorm

library = load_library()
pytestmark = pytest.mark.skipif(library is None, reason="no C library here")


def by_hand(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    found = []
    for c in range(x.shape[1]):
        near = [j for j in range(c - size // 2, c - size // 2 + size) if 0 <= j < x.shape[1]]
        squares = sum((x[:, j] ** 2 for j in near), torch.zeros(()))
        found.append(x[:, c] / (k + alpha / size * squares) ** beta)
    return torch.stack(found, 1)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 16, 21, 96]),
    side=st.integers(1, 4),
    size=st.integers(1, 6),
    alpha=st.sampled_from([1e-4, 0.1, 2.0]),
    beta=st.sampled_from([0.75, 0.5, 1.0]),
    dtype=st.sampled_from([torch.bfloat16, torch.float32]),
    seed=st.integers(0, 1000),
)
def test_results_and_gradients_are_those_of_the_formula(
    batch: int, channels: int, side: int, size: int, alpha: float, beta: float,
    dtype: torch.dtype, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    x = (3 * torch.randn(batch, channels, side, side)).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    dy = torch.randn(batch, channels, side, side).to(dtype)
    layer = LocalResponseNorm(size, alpha, beta, 2.0)
    y = layer(x)
    assert "LocalResponseNorm" in type(y.grad_fn).__name__
    y.backward(dy)
    x64 = x.detach().double().requires_grad_()
    y64 = by_hand(x64, size, alpha, beta, 2.0)
    y64.backward(dy.double())
    assert x.grad is not None
    assert x64.grad is not None
    wide = dtype is torch.float32
    rtol = 2**-19 if wide else 2**-8
    torch.testing.assert_close(
        y.detach().double(), y64.detach(), rtol=rtol, atol=1e-6 if wide else 1e-5
    )
    torch.testing.assert_close(x.grad.double(), x64.grad, rtol=rtol, atol=4e-6 if wide else 1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("level", range(library.level + 1) if library else [])
def test_the_code_of_every_level_follows_the_formula(
    level: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library is not None
    at_level = Library(library.functions, level)
    monkeypatch.setattr("ravine.ops.library_inputs.load_library", lambda: at_level)
    test_results_and_gradients_are_those_of_the_formula.hypothesis.inner_test(  # type: ignore[attr-defined]
        batch=2, channels=37, side=3, size=5, alpha=0.5, beta=0.75, dtype=dtype, seed=1
    )


@pytest.mark.parametrize("level", range(library.level + 1) if library else [])
@pytest.mark.parametrize("beta", [-0.5, 0.0, 0.3, 0.6, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("exponents", [(-17, -10), (-6, 6), (0, 18)])
def test_powers_are_exact_from_tiny_to_huge_numbers(
    level: int, beta: float, exponents: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the sum, or its power, is too small or too large for float32."""
    assert library is not None
    at_level = Library(library.functions, level)
    monkeypatch.setattr("ravine.ops.library_inputs.load_library", lambda: at_level)
    torch.manual_seed(0)
    x = torch.randn(4, 37, 3, 3) * 10 ** torch.empty(4, 37, 3, 3).uniform_(*exponents)
    x = x.contiguous(memory_format=torch.channels_last)
    k = 0.0 if exponents[1] < 0 else 1.0

    found = LocalResponseNorm(3, 0.7, beta, k)(x)

    sums = (by_hand(x.double(), 3, 0.7, -1.0, k) / x.double()).float()  # k + α/n·Σ
    wanted = x.double() * sums.double() ** -beta
    normal = (wanted.abs() > 1e-37) & (wanted.abs() < 3e38)
    normal &= (sums**-beta > 1e-37) & (sums**-beta < 3e38) & sums.isfinite() & (sums > 1e-37)
    assert normal.any() or exponents[1] < 0
    torch.testing.assert_close(
        found[normal].double(), wanted[normal], rtol=1e-6 * max(1, abs(beta)), atol=0.0
    )
    assert not (found[sums > 0].isnan() & wanted[sums > 0].float().isfinite()).any()


def test_other_layouts_and_types_are_torchs() -> None:
    x = torch.randn(2, 8, 3, 3)
    for other in (x, x.double().contiguous(memory_format=torch.channels_last)):
        assert torch.equal(LocalResponseNorm(5)(other), nn.LocalResponseNorm(5)(other))


def test_a_gradient_can_be_differentiated_again() -> None:
    """As a gradient penalty does."""
    drawn = torch.randn(2, 20, 3, 3).contiguous(memory_format=torch.channels_last)
    found = []
    for layer, x in ((LocalResponseNorm(5, 0.5), drawn), (nn.LocalResponseNorm(5, 0.5), drawn)):
        own = x.to(torch.float32 if type(layer) is LocalResponseNorm else torch.float64)
        own.requires_grad_()
        (first,) = torch.autograd.grad(layer(own).square().sum(), own, create_graph=True)
        (second,) = torch.autograd.grad((first**3).sum(), own)
        found.append((first.detach().double(), second.double()))
    for one, wanted in zip(*found, strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-5, atol=1e-5)


def test_nan_reaches_the_channels_around_it() -> None:
    x = torch.ones(1, 8, 1, 2).bfloat16().contiguous(memory_format=torch.channels_last)
    x[0, 3, 0, 0] = float("nan")
    broken = LocalResponseNorm(3)(x).isnan()
    assert broken[0, :, 0, 0].tolist() == [c in (2, 3, 4) for c in range(8)]
    assert not broken[0, :, 0, 1].any()
