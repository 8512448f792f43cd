"""Response norms, and convolutions of groups of channels, are compiled and answer as layers do."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.kernels.library import Library, load_library, without_library
from ravine.models import build
from ravine.nn.inference_engine import InferenceEngine
from ravine.nn.response_norm import LocalResponseNorm

library = load_library()
pytestmark = [
    pytest.mark.skipif(library is None, reason="the C library was not built"),
    pytest.mark.slow,
]
levels = pytest.mark.parametrize("level", range(library.level + 1) if library else [])
narrow_here = pytest.mark.skipif(
    library is None or library.level_name != "avx512-bf16",
    reason="this level does not compile networks in bfloat16",
)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def _by_layers(network: nn.Module, images: Tensor) -> Tensor:
    """Returns the answers of torch's own operations, in float64."""
    wide = copy.deepcopy(network).double()
    with without_library():
        return wide(images.double())


def _is_compiled(engine: InferenceEngine) -> bool:
    return any(found is not None for found in engine._compiled.values())


def _error(found: Tensor, wanted: Tensor) -> float:
    return ((found.double() - wanted).norm() / wanted.norm()).item()


def _narrow(answers: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return answers(images)


class _Called(nn.Module):
    """torch's function, by position and by name."""

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(F.local_response_norm(x, 3, 0.2), size=4, k=0.5, beta=1.2)


_CALLED = _Called()
_CALLED.__class__.__module__ = "torch.nn.modules.none"  # as if it were one of torch's


def _normed(norm: nn.Module, channels: int) -> nn.Sequential:
    """Returns a network that normalises responses of about 3."""
    network = nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), norm, nn.MaxPool2d(3, 2),
        nn.Conv2d(channels, 9, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(9, 40),
    ).eval()  # fmt: skip
    network[0].weight.mul_(10)  # type: ignore[operator]
    return network


@pytest.mark.parametrize(
    "norm",
    [
        nn.LocalResponseNorm(5, 0.3, 0.75, 2.0), LocalResponseNorm(5, 0.3, 0.75, 2.0),
        nn.LocalResponseNorm(1, 1.0, 0.5), LocalResponseNorm(2, 2.0, 1.0, 0.1),
        nn.LocalResponseNorm(8, 0.01, 2.5, 0.7), nn.LocalResponseNorm(60, 0.3, 0.25), _CALLED,
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(("channels", "count"), [(1, 9), (16, 1), (21, 3), (96, 2)])
def test_response_norms_are_compiled(norm: nn.Module, channels: int, count: int) -> None:
    network, images = _normed(norm, channels), torch.randn(count, 3, 13, 11)
    engine = InferenceEngine(network)

    found = engine(images)

    assert _is_compiled(engine)
    torch.testing.assert_close(found, _by_layers(network, images).float(), rtol=1e-4, atol=1e-5)


@levels
def test_response_norms_and_groups_have_code_at_every_level(
    level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library is not None
    at_level = Library(library.functions, level)
    monkeypatch.setattr("ravine.nn.inference_engine.load_library", lambda: at_level)
    network, images = _alexnet(), torch.randn(3, 3, 40, 40)
    engine = InferenceEngine(network)

    found = engine(images)

    assert _is_compiled(engine)
    assert _error(found, _by_layers(network, images)) < 1e-5


@narrow_here
@pytest.mark.parametrize("count", [1, 9])
def test_in_bfloat16_answers_are_as_exact_as_those_of_layers(count: int) -> None:
    errors = []
    for _ in range(5):
        network, images = _alexnet(), torch.randn(count, 3, 40, 40)
        engine, wanted = InferenceEngine(network), _by_layers(network, images)
        found, by_layers = _narrow(engine, images), _narrow(network, images)
        assert _is_compiled(engine)
        assert found.dtype is by_layers.dtype is torch.bfloat16
        errors.append((_error(found, wanted), _error(by_layers, wanted)))
    compiled, layers = torch.tensor(errors).square().mean(0).sqrt().tolist()

    assert compiled < 1.2 * layers < 0.01  # Winograd's products are less exact


def _alexnet() -> nn.Module:
    """Returns the AlexNet of 2012, whose answers differ from class to class."""
    network = build("alexnet", classes=200, channels=3, image_size=40).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias)  # type: ignore[arg-type]
    return network.to(memory_format=torch.channels_last)


def test_an_answer_does_not_depend_on_the_threads_nor_on_the_batch_from_eight_images_on(
    torch_threads: Callable[[int], AbstractContextManager[None]],
) -> None:
    engine, images = InferenceEngine(_alexnet()), torch.randn(17, 3, 40, 40)
    found, alone = [], []
    for threads in (1, 2, 5):
        with torch_threads(threads):
            found += [engine(images), torch.cat([engine(images[:8]), engine(images[8:])])]
            alone.append(engine(images[:1]))

    assert all(torch.equal(found[0], other) for other in found[1:])
    assert all(torch.equal(alone[0], other) for other in alone[1:])


class _Block(nn.Module):
    """A residual block of grouped convolutions, whose sum two layers read."""

    def __init__(self, channels: int, groups: int, kernel: int) -> None:
        super().__init__()
        around = {"padding": kernel // 2, "groups": groups}
        self.first = nn.Conv2d(channels, channels, kernel, **around)  # type: ignore[arg-type]
        self.second = nn.Conv2d(channels, channels, kernel, bias=False, **around)  # type: ignore[arg-type]
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.second(F.relu(self.norms[0](self.first(x))))
        return self.norms[2](y + F.relu(self.norms[1](y)))


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("channels", "groups"), [(64, 2), (54, 3), (96, 3)])
@pytest.mark.parametrize("count", [1, 12])
def test_groups_of_channels_are_compiled(
    kernel: int, channels: int, groups: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Block, "__module__", "torch.nn.modules.none")
    network = nn.Sequential(
        nn.Conv2d(3, channels, 3, 2), _Block(channels, groups, kernel),
        nn.Conv2d(channels, 16 * groups, 3, 2, groups=groups), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16 * groups, 7),
    ).eval()  # fmt: skip
    engine, images = InferenceEngine(network), torch.randn(count, 3, 19, 15)
    wanted = _by_layers(network, images)

    found = engine(images)

    assert _is_compiled(engine)
    assert _error(found, wanted) < 1e-5
    assert _error(_narrow(engine, images), wanted) < 0.02


def test_groups_of_few_channels_run_by_their_layers() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 30, 3), nn.Conv2d(30, 30, 3, groups=30), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    engine, images = InferenceEngine(network), torch.randn(2, 3, 9, 9)

    found = engine(images)

    assert not _is_compiled(engine)
    assert torch.equal(found, network(images))


@narrow_here
@pytest.mark.parametrize("after", [nn.Identity(), nn.ReLU(), nn.BatchNorm2d(16).eval()], ids=str)
def test_a_response_norm_that_autocast_makes_wide_stays_so_at_the_end(after: nn.Module) -> None:
    norm = nn.LocalResponseNorm(3, 1.0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), norm, after, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    engine, images = InferenceEngine(network), torch.randn(2, 3, 9, 9)

    found = _narrow(engine, images)

    assert found.dtype is torch.float32
    assert torch.equal(found, _narrow(network, images))
