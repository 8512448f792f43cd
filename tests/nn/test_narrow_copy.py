"""Weights that are narrowed once give the bits that autocast gives, and are never old ones."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from ravine.kernels.library import load_library
from ravine.nn.inference_engine import InferenceEngine
from ravine.nn.narrow_copy import narrow_copy


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def _narrow(answers: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Returns answers under an autocast of their own, which keeps narrow weights till its end."""
    with torch.autocast("cpu", torch.bfloat16):
        return answers(images)


def _network() -> nn.Sequential:
    """Returns a network that is not compiled: its kernels have holes."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, dilation=2, groups=3), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 8, 3), nn.Flatten(), nn.LayerNorm(8 * 4 * 4), nn.Linear(8 * 4 * 4, 5),
    ).eval().to(memory_format=torch.channels_last)  # fmt: skip


def _types(network: nn.Module) -> list[torch.dtype]:
    return [one.dtype for one in network.parameters()]


def test_a_narrow_copy_has_the_bits_of_autocast_and_shares_what_stays_wide() -> None:
    network, images = _network(), torch.randn(5, 3, 10, 10)

    found = narrow_copy(network, images)

    assert found is not None
    wide, narrow = torch.float32, torch.bfloat16
    assert _types(found) == [narrow, narrow, wide, wide, narrow, narrow, wide, wide, narrow, narrow]
    assert found[1].weight is network[1].weight  # type: ignore[index, union-attr]
    assert set(_types(network)) == {wide}
    assert torch.equal(_narrow(found, images), _narrow(network, images))


class _ReadsWeights(nn.Module):
    """A layer whose weight others read too, as `read` says."""

    def __init__(self, read: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.layer, self.read = nn.Linear(6, 6), read

    def forward(self, x: Tensor) -> Tensor:
        self.read(self.layer.weight)
        return self.layer(x)


@pytest.mark.parametrize(
    "read",
    [lambda w: w.mul(3), lambda w: w.dtype, lambda w: torch.cat([w, w]), lambda w: 1 + w],
    ids=["method", "type", "list", "operator"],
)
def test_a_weight_that_something_else_reads_stays_wide(read: Callable[[Tensor], object]) -> None:
    found = narrow_copy(_ReadsWeights(read).eval(), torch.randn(2, 6))

    assert found is not None
    assert _types(found) == [torch.float32, torch.bfloat16]  # the bias alone


def test_a_weight_of_two_layers_stays_wide_and_without_any_there_is_no_copy() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight

    assert narrow_copy(nn.Sequential(first, second).eval(), torch.randn(2, 4)) is None


@pytest.mark.skipif(load_library() is None, reason="the C library was not built")
def test_a_private_engine_narrows_once_and_a_shared_one_not_at_all() -> None:
    network, images = _network(), torch.randn(4, 3, 10, 10)
    private, shared = InferenceEngine(network, is_shared=False), InferenceEngine(network)
    wanted = _narrow(network, images)

    found = [_narrow(engine, images) for engine in (private, shared) for _ in range(3)]

    assert all(torch.equal(one, wanted) for one in found)
    assert private._narrow is not None
    assert shared._narrow is None
    assert torch.equal(private(images), network(images))


@pytest.mark.skipif(load_library() is None, reason="the C library was not built")
def test_who_is_given_a_private_network_may_change_it() -> None:
    network, images = _network(), torch.randn(4, 3, 10, 10)
    engine = InferenceEngine(network, is_shared=False)
    before = [_narrow(engine, images) for _ in range(3)][-1]
    engine.is_shared = True
    network[-1].weight.mul_(-3)  # type: ignore[operator]

    after = _narrow(engine, images)

    assert torch.equal(after, _narrow(network, images))
    assert not torch.equal(after, before)
