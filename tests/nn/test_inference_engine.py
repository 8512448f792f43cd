"""Networks compiled for inference answer as their layers do, and never by old weights."""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.nn.answering_networks import SIZES, answering_network, images_for
from torch import Tensor, nn

from ravine.kernels.library import load_library, without_library
from ravine.nn.inference_engine import InferenceEngine

pytestmark = pytest.mark.skipif(load_library() is None, reason="the C library was not built")


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _network(name: str = "wrn-10-1") -> nn.Module:
    return answering_network(name, classes=7)


def _by_layers(network: nn.Module, images: Tensor) -> Tensor:
    """Returns the answers of torch's own operations, in float64."""
    wide = copy.deepcopy(network).double()
    with without_library():
        return wide(images.double()).float()


def _is_compiled(engine: InferenceEngine) -> bool:
    return any(found is not None for found in engine._compiled.values())


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("count", [1, 3, 19])
def test_a_compiled_network_answers_as_its_layers_do(name: str, count: int) -> None:
    network, images = _network(name), images_for(count, name)
    engine = InferenceEngine(network)

    found = engine(images)

    assert _is_compiled(engine)
    torch.testing.assert_close(found, _by_layers(network, images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["wrn-10-1", "swift-1"])
def test_a_network_is_compiled_in_inference_mode_too(name: str) -> None:
    network, images = _network(name), images_for(3, name)
    inside, outside = InferenceEngine(network), InferenceEngine(network)

    with torch.inference_mode():
        found = inside(images)

    assert _is_compiled(inside)
    assert torch.equal(found, outside(images))
    assert torch.equal(inside(images), found)


@pytest.mark.parametrize(
    "act", [nn.GELU(), nn.SiLU(), nn.Identity()], ids=lambda act: type(act).__name__
)
def test_other_activations_and_plain_poolings_are_compiled_too(act: nn.Module) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 20, 5, stride=3, padding=1), act, nn.MaxPool2d(3, 2, 1),
        nn.BatchNorm2d(20), act, nn.Conv2d(20, 9, 1, stride=2), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(9, 33), act, nn.Linear(33, 5, bias=False),
    ).eval()  # fmt: skip
    engine, images = InferenceEngine(network), torch.randn(5, 3, 31, 29)

    found = engine(images)

    assert _is_compiled(engine)
    torch.testing.assert_close(found, _by_layers(network, images), rtol=1e-4, atol=1e-5)


def _ends_in_pixels(side: int, *between: nn.Module) -> nn.Sequential:
    """Returns a network whose first linear layer reads side × side pixels of 16 channels."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), *between,
        nn.Dropout(), nn.Linear(16 * side * side, 48), nn.ReLU(), nn.Linear(48, 7),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("side", [1, 2, 3, 6])
@pytest.mark.parametrize("count", [1, 9, 50])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_a_linear_layer_that_reads_all_pixels_is_compiled(
    side: int, count: int, memory_format: torch.memory_format
) -> None:
    network = _ends_in_pixels(side).to(memory_format=memory_format)
    engine, images = InferenceEngine(network), torch.randn(count, 3, 2 * side, 2 * side)

    found = engine(images)

    assert _is_compiled(engine)
    torch.testing.assert_close(found, _by_layers(network, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("height", [4, 8])
@pytest.mark.parametrize("between", [nn.ReLU(), nn.GELU(), nn.BatchNorm1d(64), nn.Identity()])
def test_what_else_is_done_with_pixels_in_a_row_answers_as_its_layers_do(
    height: int, between: nn.Module
) -> None:
    network = _ends_in_pixels(2, between.eval())
    images = torch.randn(5, 3, height, 16 // height)

    found = InferenceEngine(network)(images)

    torch.testing.assert_close(found, _by_layers(network, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pool", "is_compiled"),
    [
        (nn.AvgPool2d(2), True), (nn.AvgPool2d(3, 2), True), (nn.AdaptiveAvgPool2d(3), True),
        (nn.AdaptiveAvgPool2d(6), True), (nn.AvgPool2d(3, 2, 1), False),
        (nn.AvgPool2d(2, divisor_override=3), False), (nn.AdaptiveAvgPool2d(4), False),
        (nn.AvgPool2d(4, 3, ceil_mode=True), False), (nn.AdaptiveAvgPool2d((2, 3)), False),
    ],
    ids=str,
)  # fmt: skip
def test_means_of_windows_are_compiled_where_all_have_as_many_pixels(
    pool: nn.Module, is_compiled: bool
) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 6, 6)
    width = pool(torch.zeros(1, 8, 6, 6)).numel()
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), pool, nn.Flatten(), nn.Linear(width, 5)
    ).eval()
    engine = InferenceEngine(network)

    found = engine(images)

    assert _is_compiled(engine) == is_compiled
    torch.testing.assert_close(found, _by_layers(network, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["wrn-10-1", "preact-20"])
def test_an_answer_does_not_depend_on_the_threads_nor_on_the_batch_from_eight_images_on(
    name: str, torch_threads: Callable[[int], AbstractContextManager[None]]
) -> None:
    engine, images = InferenceEngine(_network(name)), images_for(21, name)
    found, alone = [], []
    for threads in (1, 2, 5):
        with torch_threads(threads):
            found += [engine(images), torch.cat([engine(images[:8]), engine(images[8:])])]
            alone.append(engine(images[:1]))

    assert all(torch.equal(found[0], other) for other in found[1:])
    assert all(torch.equal(alone[0], other) for other in alone[1:])
    torch.testing.assert_close(alone[0], found[0][:1], rtol=1e-4, atol=1e-4)


def _last(network: nn.Module, kind: type[nn.Module]) -> Any:
    return [module for module in network.modules() if isinstance(module, kind)][-1]


def _in_place(network: nn.Module) -> None:
    _last(network, nn.Conv2d).weight.mul_(-1)


def _loaded(network: nn.Module) -> None:
    network.load_state_dict({name: one / 2 for name, one in network.state_dict().items()})


def _other_memory(network: nn.Module) -> None:
    weight = _last(network, nn.Conv2d).weight
    weight.data = weight.data * -1


def _buffer(network: nn.Module) -> None:
    _last(network, nn.BatchNorm2d).running_mean.add_(1)


def _other_parameter(network: nn.Module) -> None:
    head = _last(network, nn.Linear)
    head.weight = nn.Parameter(-head.weight)


def _other_child(network: nn.Module) -> None:
    network[-1] = nn.Linear(network[-1].in_features, 7)  # type: ignore[index, operator]


def _more_children(network: nn.Module) -> None:
    network.append(nn.Tanh())  # type: ignore[operator]


@pytest.mark.parametrize(
    "change",
    [_in_place, _loaded, _other_memory, _buffer, _other_parameter, _other_child, _more_children],
)
def test_a_changed_network_is_never_answered_for_by_its_old_weights(
    change: Callable[[nn.Module], None],
) -> None:
    network, images = _network(), images_for(2)
    engine = InferenceEngine(network)
    before = engine(images)
    change(network)

    after = engine(images)

    torch.testing.assert_close(after, _by_layers(network, images), rtol=1e-4, atol=1e-4)
    assert (after - before).abs().max() > 1e-2


def _through_data(network: nn.Module) -> None:
    _last(network, nn.Linear).weight.data[0, 0] += 10


def _epsilon(network: nn.Module) -> None:
    _last(network, nn.BatchNorm2d).eps = 3.0


@pytest.mark.parametrize("change", [_through_data, _epsilon])
def test_changes_that_torch_does_not_count_are_found_when_weights_are_checked(
    change: Callable[[nn.Module], None],
) -> None:
    network, images = _network(), images_for(2)
    engine = InferenceEngine(network)
    before = engine(images)
    change(network)
    engine.check_weights()

    after = engine(images)

    torch.testing.assert_close(after, _by_layers(network, images), rtol=1e-4, atol=1e-4)
    assert (after - before).abs().max() > 1e-2


def test_unchanged_weights_are_not_compiled_again() -> None:
    engine, images = InferenceEngine(_network()), images_for(2)
    engine(images)
    first = list(engine._compiled.values())
    engine.check_weights()
    engine(images)

    assert list(map(id, engine._compiled.values())) == list(map(id, first))


def test_other_sizes_of_images_are_compiled_for_themselves_and_few_are_kept() -> None:
    network = _network()
    engine = InferenceEngine(network)
    for size in (16, 20, 24, 16):
        images = torch.randn(2, 3, size, size)
        torch.testing.assert_close(
            engine(images), _by_layers(network, images), rtol=1e-4, atol=1e-4
        )

    assert len(engine._compiled) == 2


def test_hooks_run_also_where_the_network_was_compiled_before() -> None:
    network, images = _network(), images_for(1)
    engine = InferenceEngine(network)
    engine(images)
    seen: list[Tensor] = []
    handle = network[0].register_forward_hook(lambda *given: seen.append(given[2]))  # type: ignore[index, operator]
    engine(images)
    handle.remove()
    engine(images)

    assert len(seen) == 1


def test_a_network_in_training_mode_uses_the_batch_and_moves_its_statistics() -> None:
    network, images = _network(), images_for(4)
    engine = InferenceEngine(network)
    engine(images)
    twin = copy.deepcopy(network).train()
    network.train()

    assert torch.equal(engine(images), twin(images))
    for one, other in zip(network.buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, other)


def test_gradients_flow_where_they_are_wanted() -> None:
    network, images = _network(), images_for(2)
    engine = InferenceEngine(network)
    engine(images)
    with torch.enable_grad():
        engine(images).square().sum().backward()

    assert all(one.grad is not None for one in network.parameters())


class _ReadsAgain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        channels = (3, 16, 16, 16, 16)
        self.layers = nn.ModuleList(nn.Conv2d(c, 16, 3, padding=1) for c in channels)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, fourth, fifth = self.layers
        a = first(x)
        b = fourth(third(second(a)) + a) + a
        return (fifth(b) + b).mean((2, 3))


def test_a_sum_is_not_written_over_what_a_convolution_or_a_later_layer_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_ReadsAgain, "__module__", "torch.nn.modules.none")
    torch.manual_seed(0)
    network, images = _ReadsAgain().eval(), torch.randn(2, 3, 65, 65)  # of several blocks
    engine = InferenceEngine(network)

    found = engine(images)

    assert _is_compiled(engine)
    torch.testing.assert_close(found, _by_layers(network, images), rtol=1e-4, atol=1e-4)


class _MixesImages(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0, keepdim=True)).mean((2, 3))


class _Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.mean((2, 3))


class _IsNoisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + torch.randn_like(x)).mean((2, 3))


@pytest.mark.parametrize("kind", [_MixesImages, _Counts, _IsNoisy])
@pytest.mark.parametrize("claimed", [False, True])
def test_what_is_more_than_layers_of_images_and_weights_runs_itself(
    kind: type[nn.Module], claimed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if claimed:  # as if it were one of torch's: then its operations give it away
        monkeypatch.setattr(kind, "__module__", "torch.nn.modules.none")
    network = kind().eval()
    engine, images = InferenceEngine(network), torch.randn(3, 4, 5, 5)
    for _ in range(3):
        torch.manual_seed(1)
        found = engine(images)

    torch.manual_seed(1)
    assert torch.equal(found, network(images)) or (kind is _Counts and claimed)
    assert not _is_compiled(engine) or (kind is _Counts and claimed)


def test_threads_of_python_ask_one_network_at_once() -> None:
    network = _network()
    engine = InferenceEngine(network)
    batches = [images_for(count) for count in (1, 2, 9, 17)]
    wanted = [_by_layers(network, images) for images in batches]
    wrong: list[int] = []

    def ask(index: int) -> None:
        with torch.no_grad():
            for _ in range(5):
                found = engine(batches[index])
                if not torch.allclose(found, wanted[index], rtol=1e-4, atol=1e-4):
                    wrong.append(index)

    askers = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for one in askers:
        one.start()
    for one in askers:
        one.join()

    assert not wrong
