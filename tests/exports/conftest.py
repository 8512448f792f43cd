"""A small trained run for the tests of exports, and networks with settled statistics."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ravine.models import build
from ravine.workflows.run import Run
from ravine.workflows.train import train

SIZE = 16


@pytest.fixture(scope="module", autouse=True)
def _five_rounds() -> Iterator[None]:
    """Times programs in five rounds, the fewest, in place of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ravine.exports.latency._SECONDS", 0.0)
        patch.setattr("ravine.exports.latency._PAUSE", 0.0)
        yield


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a class-per-folder tree of 90 striped pictures in colour."""
    folder = tmp_path_factory.mktemp("pictures")
    chance = np.random.default_rng(0)
    for number, name in enumerate(("across", "along", "no “stripes”")):
        (folder / name).mkdir()
        for index in range(30):
            pixels = chance.integers(0, 150, (SIZE, SIZE, 3), dtype=np.uint8)
            stripes = (slice(None, None, 2), slice(None))[:: 1 - 2 * (number % 2)]
            pixels[stripes] += 60 * np.uint8(number < 2)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Run:
    """Returns a run of a small network on the pictures."""
    place = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_CACHE", str(place / "cache"))
        return train(
            str(pictures),
            out=place / "run",
            model="wrn-10-1",
            epochs=4,
            batch=16,
            precision="float32",
            validation=0.3,
        )


@pytest.fixture
def network() -> Callable[..., nn.Module]:
    """Returns what builds a network by name, with statistics unlike those of the start."""

    def make(name: str, *, image_size: int = SIZE, **options: object) -> nn.Module:
        torch.manual_seed(0)
        made = build(name, classes=4, image_size=image_size, **options)  # type: ignore[arg-type]
        settle(made)
        return made

    return make


def settle(network: nn.Module) -> None:
    """Gives the norms of a network statistics and weights that a training might have left."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()  # type: ignore[union-attr]
                layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_()


@pytest.fixture
def images() -> Tensor:
    """Returns 40 images (40, 3, 16, 16)."""
    return torch.randn(40, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
