"""The table of algorithms: what runs which shape, on which level of the C library."""

from dataclasses import replace

import pytest
import torch

from ravine.kernels.library import load_library
from ravine.nn.convolution import Conv2d
from ravine.ops.algorithm import ConvolutionShape, algorithm_named, can_run, candidates
from ravine.ops.kernel_plan import record_shapes, use_algorithms

SHAPE = ConvolutionShape(32, 64, 14, 14, 3, 1, 1, "bfloat16")


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, ("tiles", "tiles-weights")),
        ({"kernel": 1, "padding": 0}, ("tiles", "tiles-weights")),
        ({"stride": 3}, ("tiles", "tiles-weights")),
        ({"bias": True}, ("tiles-weights", "torch")),
        ({"kernel": 7}, ("tiles-weights", "torch")),
        ({"stride": 4}, ("tiles-weights", "torch")),
        ({"height": 224, "width": 224}, ("tiles-weights", "torch")),  # more than the cache
        ({"stride": 9}, ("torch",)),
        ({"channels": 24}, ("torch",)),
        ({"dtype": "float32"}, ("torch",)),
    ],
)
def test_tiles_run_what_they_fit_and_the_rest_is_torchs(
    change: dict[str, object], wanted: tuple[str, ...]
) -> None:
    assert candidates(replace(SHAPE, **change)) == wanted  # type: ignore[arg-type]


def test_without_the_library_every_shape_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVINE_KERNELS", "off")
    load_library.cache_clear()
    try:
        assert candidates(SHAPE) == ("torch",)
        assert not can_run("tiles", SHAPE)
        with (
            pytest.raises(ValueError, match="tiles cannot run here: 32→64"),
            use_algorithms({SHAPE: "tiles"}),
        ):
            pass
    finally:
        load_library.cache_clear()


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("algorithm", ["tiles", "tiles-weights", "torch"])
def test_a_convolution_runs_by_the_algorithm_that_is_in_use(algorithm: str) -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = torch.randn(2, 32, 14, 14).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16), use_algorithms({SHAPE: algorithm_named(algorithm)}):
        made_by = type(layer(x).grad_fn).__name__

    wanted = {"tiles": "_ConvolutionBackward", "tiles-weights": "_OwnWeightGradientBackward"}
    assert made_by == wanted.get(algorithm, "ConvolutionBackward0")


@pytest.mark.usefixtures("tiles")
def test_the_shapes_of_a_network_are_recorded_in_either_precision() -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = torch.randn(2, 32, 14, 14).contiguous(memory_format=torch.channels_last)
    with record_shapes() as shapes:
        layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            layer(x.bfloat16())
            layer(x.bfloat16())

    assert list(shapes) == [replace(SHAPE, dtype="float32"), SHAPE]


@pytest.mark.usefixtures("tiles")
def test_a_compiled_graph_takes_an_algorithm_for_each_size_of_images() -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    compiled = torch.compile(layer, dynamic=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16), use_algorithms({SHAPE: "torch"}):
        for size in (14, 12):
            x = torch.randn(2, 32, size, size).bfloat16()
            x = x.contiguous(memory_format=torch.channels_last)
            assert torch.equal(compiled(x), layer(x))
