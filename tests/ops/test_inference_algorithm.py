"""Every algorithm that an inference may choose answers alike; few positions take few weights."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.kernels.library import Library, load_library
from ravine.ops.fused_graph import fuse
from ravine.ops.inference_algorithm import PRODUCT, WINOGRAD_2, WINOGRAD_4, inference_algorithm
from ravine.ops.inference_program import constants_of, make_program
from ravine.ops.trace import trace
from ravine.ops.traced_graph import Convolution, TracedGraph

pytestmark = pytest.mark.skipif(load_library() is None, reason="the C library was not built")


@pytest.fixture(params=["base", "avx2", "here"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    here = load_library()
    assert here is not None
    if request.param == "here":
        return here
    monkeypatch.setenv("RAVINE_KERNELS", request.param)
    found = load_library.__wrapped__()
    assert found is not None
    return found


def _graph(channels: int, size: int) -> tuple[nn.Sequential, TracedGraph]:
    torch.manual_seed(size)
    layers = nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    network = nn.Sequential(*layers, nn.Linear(32, 5)).eval()
    return network, trace(network, (channels, size, size))


def _convolution(graph: TracedGraph) -> Convolution:
    return next(
        node
        for node in (layer.node for layer in fuse(graph))
        if isinstance(node, Convolution) and node.weight.shape[2] == 3
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 13])
@pytest.mark.parametrize("algorithm", [PRODUCT, WINOGRAD_2, WINOGRAD_4])
@pytest.mark.parametrize("count", [1, 3])
def test_all_algorithms_answer_as_torch_does_in_float64(
    library: Library, size: int, algorithm: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, graph = _graph(16, size)
    by: Callable[..., int] = lambda _, node, *rest: (  # noqa: E731
        algorithm if node.weight.shape[2] == 3 else PRODUCT
    )
    monkeypatch.setattr("ravine.ops.inference_program.inference_algorithm", by)
    images = torch.randn(count, 16, size, size).contiguous(memory_format=torch.channels_last)
    layers = fuse(graph)
    constants = [constants_of(layer) for layer in layers]
    program = make_program(library, graph, layers, constants, torch.float32, count, count)
    found = torch.full((count, 5), torch.nan)

    program.run(images, found, threads=1)

    with torch.no_grad():
        wanted: Tensor = network.double()(images.double()).float()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [16, 512])
def test_the_more_positions_the_more_weights_are_read(library: Library, channels: int) -> None:
    order = [PRODUCT, WINOGRAD_2, WINOGRAD_4]  # by weights: as many, 16/9 and 4 times
    found = []
    for size in (1, 2, 4, 8, 16, 64):
        _, graph = _graph(channels, size)
        shape = (32, size, size)
        node = _convolution(graph)
        found.append(order.index(inference_algorithm(library, node, shape, 1, torch.float32)))

    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, 2)


def test_other_kernels_and_strides_are_products(library: Library) -> None:
    for layer in (nn.Conv2d(16, 32, 5, padding=2), nn.Conv2d(16, 32, 3, stride=2, padding=1)):
        network = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))
        node = fuse(trace(network.eval(), (16, 64, 64)))[0].node
        assert isinstance(node, Convolution)
        size = F.conv2d(torch.empty(1, 16, 64, 64), layer.weight.detach(), stride=layer.stride,
                        padding=layer.padding).shape[1:]  # fmt: skip
        assert (
            inference_algorithm(library, node, (32, size[1], size[2]), 8, torch.float32) == PRODUCT
        )
