"""Networks under autocast answer in bfloat16 as exactly as their layers do, compiled or not."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from tests.nn.answering_networks import SIZES, answering_network, images_for
from torch import Tensor, nn

from ravine.kernels.library import load_library, without_library
from ravine.nn.inference_engine import InferenceEngine
from ravine.ops.packed_weights import PackedWeights, keep_packed_weights

pytestmark = pytest.mark.slow  # many seconds

_LIBRARY = load_library()
compiled_here = pytest.mark.skipif(
    _LIBRARY is None or _LIBRARY.level_name != "avx512-bf16",
    reason="this level does not compile networks in bfloat16",
)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _network(name: str = "wrn-10-1", seed: int = 3) -> nn.Module:
    return answering_network(name, classes=150, seed=seed)


def _in_float64(network: nn.Module, images: Tensor) -> Tensor:
    wide = copy.deepcopy(network).double()
    with without_library():
        return wide(images.double())


def _narrow(answers: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return answers(images)


def _error(found: Tensor, wanted: Tensor) -> float:
    return ((found.double() - wanted).norm() / wanted.norm()).item()


def _is_compiled(engine: InferenceEngine) -> bool:
    return any(found is not None for found in engine._compiled.values())


@compiled_here
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("count", [1, 9])
def test_compiled_answers_are_as_exact_as_those_of_layers(name: str, count: int) -> None:
    errors = []
    for seed in range(6):
        network, images = _network(name, seed), images_for(count, name)
        engine, wanted = InferenceEngine(network), _in_float64(network, images)
        found = _narrow(engine, images)
        with keep_packed_weights(PackedWeights()):
            by_layers = _narrow(network, images)
        assert _is_compiled(engine)
        assert found.dtype is by_layers.dtype is torch.bfloat16
        errors.append((_error(found, wanted), _error(by_layers, wanted)))
    compiled, layers = torch.tensor(errors).square().mean(0).sqrt().tolist()

    assert compiled < 1.05 * layers < 0.01


@pytest.mark.parametrize("name", SIZES)
def test_at_any_level_answers_are_near_those_of_float64(name: str) -> None:
    network, images = _network(name), images_for(5, name)

    found = _narrow(InferenceEngine(network), images)

    assert found.dtype is torch.bfloat16
    assert _error(found, _in_float64(network, images)) < 0.015


@compiled_here
@pytest.mark.parametrize("act", [nn.GELU(), nn.SiLU(), nn.ReLU()], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_odd_channels_large_kernels_and_poolings_are_compiled(
    act: nn.Module, channels: int
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(channels, 21, 5, stride=3, padding=1), act, nn.MaxPool2d(3, 2, 1),
        nn.BatchNorm2d(21), act, nn.Conv2d(21, 130, 1, stride=2), nn.Conv2d(130, 9, 3, padding=1),
        nn.Conv2d(9, 9, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(9, 33), act, nn.Linear(33, 500, bias=False),
    ).eval()  # fmt: skip
    engine, images = InferenceEngine(network), torch.randn(5, channels, 31, 29)
    wanted = _in_float64(network, images)

    found = _narrow(engine, images)

    assert _is_compiled(engine)
    assert _error(found, wanted) < 1.2 * _error(_narrow(network, images), wanted) < 0.02


@compiled_here
@pytest.mark.parametrize("name", ["wrn-10-1", "preact-20"])
def test_an_answer_does_not_depend_on_the_threads_nor_on_the_batch_from_eight_images_on(
    name: str, torch_threads: Callable[[int], AbstractContextManager[None]]
) -> None:
    engine, images = InferenceEngine(_network(name)), images_for(21, name)
    found, alone = [], []
    for threads in (1, 2, 5):
        with torch_threads(threads):
            halves = [_narrow(engine, images[:8]), _narrow(engine, images[8:])]
            found += [_narrow(engine, images), torch.cat(halves)]
            alone.append(_narrow(engine, images[:1]))

    assert all(torch.equal(found[0], other) for other in found[1:])
    assert all(torch.equal(alone[0], other) for other in alone[1:])


@compiled_here
def test_changed_weights_are_noticed_and_both_precisions_take_turns() -> None:
    network, images = _network(), images_for(4)
    engine = InferenceEngine(network)
    wide, narrow = engine(images), _narrow(engine, images)
    again = engine(images), _narrow(engine, images)
    kept = list(map(id, engine._compiled.values()))
    network[-1].weight.data[0] += 5  # type: ignore[index, operator, union-attr]
    engine.check_weights()
    after = _narrow(engine, images)

    assert torch.equal(wide, again[0])
    assert torch.equal(narrow, again[1])
    assert len(kept) == 2
    assert (after - narrow).abs().max() > 1
    assert _error(after, _in_float64(network, images)) < 0.01


@compiled_here
def test_hooks_and_other_types_run_layer_by_layer() -> None:
    network, images = _network(), images_for(2)
    engine = InferenceEngine(network)
    _narrow(engine, images)
    seen: list[torch.dtype] = []
    handle = network[0].register_forward_hook(lambda *given: seen.append(given[2].dtype))  # type: ignore[index, operator]
    _narrow(engine, images)
    handle.remove()
    with torch.autocast("cpu", torch.float16):
        half = engine(images)

    assert seen == [torch.bfloat16]
    assert half.dtype is torch.float16
    assert len(engine._compiled) == 1


@compiled_here
@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ],
)
def test_values_that_autocast_leaves_in_float32_stay_so(network: nn.Module) -> None:
    engine, images = InferenceEngine(network.eval()), torch.randn(3, 4, 5, 5)

    found = _narrow(engine, images)

    assert found.dtype is torch.float32
    assert torch.equal(found, _narrow(network, images))
