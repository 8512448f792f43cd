"""Weights that are kept packed while a network answers: the same bits, and never old ones."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor

from ravine.kernels.library import load_library
from ravine.nn.convolution import Conv2d
from ravine.ops.algorithm import ConvolutionShape, DTypeName, can_run
from ravine.ops.algorithm_names import Algorithm
from ravine.ops.library_convolution import library_convolution
from ravine.ops.packed_weights import PackedWeights, keep_packed_weights

pytestmark = pytest.mark.skipif(load_library() is None, reason="the C library was not built")

WAYS: list[tuple[Algorithm, DTypeName, int, int]] = [
    ("winograd-2", "bfloat16", 3, 1),
    ("winograd-4", "float32", 3, 1),
    ("direct", "float32", 3, 2),
    ("direct", "bfloat16", 1, 1),
]


def _images(count: int, dtype: DTypeName) -> Tensor:
    torch.manual_seed(count)
    images = torch.randn(count, 32, 9, 11, dtype=getattr(torch, dtype))
    return images.contiguous(memory_format=torch.channels_last)


def _weight(kernel: int) -> Tensor:
    torch.manual_seed(7)
    return torch.randn(48, 32, kernel, kernel).contiguous(memory_format=torch.channels_last)


def _convolve(x: Tensor, weight: Tensor, algorithm: Algorithm, stride: int) -> Tensor:
    kernel = weight.shape[2]
    with torch.no_grad():
        return library_convolution(
            x, weight, None, None, stride=stride, padding=kernel // 2, algorithm=algorithm
        )[0]


@pytest.fixture(params=WAYS, ids=lambda way: "-".join(map(str, way)))
def way(request: pytest.FixtureRequest) -> tuple[Algorithm, DTypeName, int, int]:
    algorithm, dtype, kernel, stride = request.param
    shape = ConvolutionShape(32, 48, 9, 11, kernel, stride, kernel // 2, dtype)
    if not can_run(algorithm, shape):
        pytest.skip(f"this processor has no {algorithm} in {dtype}")
    return algorithm, dtype, kernel, stride


@pytest.mark.parametrize("images", [1, 3])
def test_kept_weights_give_the_same_bits_at_every_call(
    way: tuple[Algorithm, DTypeName, int, int], images: int
) -> None:
    algorithm, dtype, kernel, stride = way
    x, weight = _images(images, dtype), _weight(kernel)
    alone = _convolve(x, weight, algorithm, stride)
    with keep_packed_weights(PackedWeights()):
        first, again = (_convolve(x, weight, algorithm, stride) for _ in range(2))

    assert torch.equal(first, alone)
    assert torch.equal(again, alone)


def test_a_changed_weight_is_packed_anew(way: tuple[Algorithm, DTypeName, int, int]) -> None:
    algorithm, dtype, kernel, stride = way
    x, weight = _images(1, dtype), _weight(kernel)
    with keep_packed_weights(PackedWeights()):
        before = _convolve(x, weight, algorithm, stride)
        weight.mul_(-2)
        after = _convolve(x, weight, algorithm, stride)

    assert torch.equal(after, -2 * before)


def test_one_image_cut_among_threads_has_the_bits_of_one_thread(
    way: tuple[Algorithm, DTypeName, int, int],
    torch_threads: Callable[[int], AbstractContextManager[None]],
) -> None:
    algorithm, dtype, kernel, stride = way
    x, weight = _images(1, dtype), _weight(kernel)
    found = []
    for threads in (1, 2, 5):
        with torch_threads(threads):
            found.append(_convolve(x, weight, algorithm, stride))

    assert torch.equal(found[1], found[0])
    assert torch.equal(found[2], found[0])


def test_what_learns_is_packed_for_itself_and_has_the_same_gradient() -> None:
    torch.manual_seed(0)
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = _images(2, "float32")
    kept = PackedWeights()
    gradients = []
    for packed in (None, kept):
        layer.weight.grad = None
        if packed is None:
            layer(x).square().sum().backward()
        else:
            with keep_packed_weights(packed):
                layer(x).square().sum().backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad.clone())

    assert torch.equal(*gradients)
    assert not kept._kept


def test_a_single_image_is_answered_by_the_library_where_weights_are_kept() -> None:
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = _images(1, "float32")
    kept = PackedWeights()
    with torch.no_grad():
        by_torch = layer(x)
        with keep_packed_weights(kept):
            answer = layer(x)

    assert len(kept._kept) == 1
    torch.testing.assert_close(answer, by_torch, rtol=1e-4, atol=1e-5)


def test_what_was_not_packed_to_its_end_is_not_read(
    way: tuple[Algorithm, DTypeName, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm, dtype, kernel, stride = way
    x, weight = _images(1, dtype), _weight(kernel)
    right = _convolve(x, weight, algorithm, stride)

    def fails(*_: object) -> None:
        raise MemoryError

    with keep_packed_weights(PackedWeights()):
        with monkeypatch.context() as patch:
            patch.setattr("ravine.ops.convolution_passes.convolve", fails)
            with pytest.raises(MemoryError):
                _convolve(x, weight, algorithm, stride)
        assert torch.equal(_convolve(x, weight, algorithm, stride), right)
