"""Measuring which algorithm runs a convolution: what is measured, for how long, who wins."""

import pytest
import torch
from torch import Tensor

from ravine.models import build
from ravine.nn.measured_plan import measure_plan, measure_shape, shapes_of, winner
from ravine.ops.algorithm import ConvolutionShape, candidates
from ravine.ops.kernel_plan import MachineKind

pytestmark = pytest.mark.usefixtures("tiles", "processor_time")

TILED = ConvolutionShape(16, 32, 8, 8, 3, 1, 1, "bfloat16")
WEIGHTS = ConvolutionShape(16, 32, 8, 8, 3, 1, 1, "bfloat16", bias=True)
TORCHS = ConvolutionShape(3, 16, 8, 8, 3, 1, 1, "bfloat16")


def test_the_shapes_of_a_network_are_those_of_its_convolutions() -> None:
    model = build("wrn-10-1", classes=10, channels=3, image_size=8)
    model = model.to(memory_format=torch.channels_last)
    shapes = shapes_of(model, channels=3, image_size=8, precision=torch.bfloat16)

    # Three groups of 16, 32 and 64 channels; the stem has 3 channels and float32 images.
    sizes = {(s.channels, s.out_channels, s.height, s.kernel, s.stride) for s in shapes}
    assert sizes == {
        (16, 16, 8, 3, 1),
        (16, 32, 8, 3, 2), (16, 32, 8, 1, 2), (32, 32, 4, 3, 1),
        (32, 64, 4, 3, 2), (32, 64, 4, 1, 2), (64, 64, 2, 3, 1),
    }  # fmt: skip
    assert {s.dtype for s in shapes} == {"bfloat16"}


def test_asking_for_shapes_changes_nothing_in_the_network() -> None:
    model = build("wrn-10-1", classes=10, channels=3, image_size=8, dropout=0.5).train()
    before: dict[str, Tensor] = {k: v.clone() for k, v in model.state_dict().items()}
    chance = torch.get_rng_state()
    shapes_of(model, channels=3, image_size=8, precision=torch.bfloat16)

    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), chance)


def test_both_candidates_of_a_shape_are_measured_and_one_candidate_is_not() -> None:
    chance = torch.get_rng_state()
    plan = measure_plan([TORCHS, TILED, WEIGHTS], precision="bfloat16", batch=4)

    torchs, tiled, weights = plan.entries
    assert (torchs.algorithm, torchs.images, torchs.seconds) == ("torch", 0, {})
    assert tuple(tiled.seconds) == candidates(TILED) == ("tiles", "tiles-weights")
    assert tuple(weights.seconds) == ("tiles-weights", "torch")
    for entry in (tiled, weights):
        assert 1 <= entry.images <= 4
        assert min(entry.seconds.values()) > 0
        assert entry.algorithm == winner(entry.seconds)
    assert plan.machine == MachineKind.here()
    assert torch.equal(torch.get_rng_state(), chance)


def test_progress_is_reported_for_each_shape_with_a_choice() -> None:
    seen: list[tuple[str, int, int]] = []
    measure_plan(
        [TORCHS, TILED, WEIGHTS], precision="bfloat16", batch=2,
        progress=lambda what, done, total: seen.append((what, done, total)),
    )  # fmt: skip

    assert seen == [("measuring convolutions", done, 2) for done in (0, 1)]


def test_a_shape_that_is_too_much_for_its_time_is_measured_on_fewer_images() -> None:
    large = ConvolutionShape(128, 128, 28, 28, 3, 1, 1, "bfloat16")
    entry = measure_shape(large, batch=4096, seconds=0.0001)

    # 6 GFLOP are seven images of this shape; time allows one.
    assert entry.images == 2


def test_when_time_is_over_the_lighter_shapes_take_the_best_guess() -> None:
    heavy = ConvolutionShape(64, 64, 14, 14, 3, 1, 1, "bfloat16")
    plan = measure_plan([TILED, heavy, WEIGHTS], precision="bfloat16", batch=2, limit=1e-6)

    assert [entry.shape for entry in plan.entries] == [TILED, heavy, WEIGHTS]
    assert [bool(entry.seconds) for entry in plan.entries] == [False, True, False]
    assert [plan.algorithms[shape] for shape in (TILED, WEIGHTS)] == ["tiles", "tiles-weights"]


def test_noise_does_not_take_the_best_guess_away() -> None:
    assert winner({"tiles": 1.0, "torch": 0.96}) == "tiles"
    assert winner({"tiles": 1.0, "torch": 0.94}) == "torch"
    assert winner({"torch": 1.0, "tiles": 1.1}) == "torch"
