"""The convolution that the networks stand on, pinned to its definition by loops in float64."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn


def _loops(x: Tensor, w: Tensor, stride: int, padding: int, groups: int, up: Tensor | None):  # type: ignore[no-untyped-def]
    """Returns the output, and for a gradient `up` of the output those of `x` and `w`."""
    batch, _, height, width = x.shape
    out_channels, per_group, kernel, _ = w.shape
    size = [(s + 2 * padding - kernel) // stride + 1 for s in (height, width)]
    y = torch.zeros(batch, out_channels, *size, dtype=torch.float64)
    gx, gw = torch.zeros_like(x), torch.zeros_like(w)
    outs = itertools.product(range(batch), range(out_channels), range(size[0]), range(size[1]))
    for b, o, i, j in outs:
        group = o // (out_channels // groups)
        for c, u, v in itertools.product(range(per_group), range(kernel), range(kernel)):
            row, column = i * stride + u - padding, j * stride + v - padding
            if 0 <= row < height and 0 <= column < width:
                source = (b, group * per_group + c, row, column)
                y[b, o, i, j] += x[source] * w[o, c, u, v]
                if up is not None:
                    gx[source] += up[b, o, i, j] * w[o, c, u, v]
                    gw[o, c, u, v] += up[b, o, i, j] * x[source]
    return y, gx, gw


@given(
    st.integers(1, 2),
    st.sampled_from([1, 2, 3]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(3, 6),
)
@settings(max_examples=20, deadline=None)
def test_forward_and_backward_agree_with_the_definition(
    batch: int, groups: int, a: int, b: int, stride: int, padding: int, size: int
) -> None:
    chance = torch.Generator().manual_seed(7)
    kernel = 3
    layer = nn.Conv2d(
        a * groups, b * groups, kernel, stride, padding, groups=groups, bias=False
    ).double()
    x = torch.randn(batch, a * groups, size, size, generator=chance, dtype=torch.float64)
    x.requires_grad_()
    y = layer(x)
    up = torch.randn(y.shape, generator=chance, dtype=torch.float64)
    y.backward(up)
    expected = _loops(x.detach(), layer.weight.detach(), stride, padding, groups, up)
    for ours, theirs in zip((y.detach(), x.grad, layer.weight.grad), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
