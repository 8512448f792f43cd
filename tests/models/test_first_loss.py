"""The loss before the first step is that of knowing nothing, ln K, in every family."""

import math

import pytest
import torch
import torch.nn.functional as F

from ravine.core.seeds import generator_for
from ravine.data.batches import evaluation_batches
from ravine.data.opening import open_dataset
from ravine.models import build
from ravine.nn import init_
from ravine.training.network_choice import model_defaults
from ravine.workflows.recipe import Recipe

_FAMILIES = (
    "alexnet",
    "alexnet-2014",
    "resnet-18",
    "resnet-50",
    "resnet-cifar-20",
    "resnet-cifar-56",
    "preact-29",
    "wrn-16-1",
    "swift-1",
)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    dataset = open_dataset(Recipe(data="@fashion"), seed=0)
    batches = evaluation_batches(
        dataset.images,
        dataset.splits["train"][:16],
        preprocessing=dataset.preprocessing,
        batch=16,
        device=torch.device("cpu"),
    )
    return next(batches).images


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("name", _FAMILIES)
def test_a_network_begins_at_the_loss_of_knowing_nothing(
    name: str, classes: int, images: torch.Tensor
) -> None:
    torch.manual_seed(0)
    given = model_defaults(name, optimizer="nesterov")
    activation = given.get("activation", "relu")
    model = build(name, classes=classes, channels=1, image_size=28, activation=activation)
    init_(model, activation=activation, generator=generator_for("initial weights", seed=0))
    if callable(fit_ := getattr(model, "fit_", None)):
        fit_(images)
    with torch.no_grad():
        logits = model.train()(images.contiguous(memory_format=torch.channels_last))
    # Over all labels: what one draw of them adds is no property of the network.
    loss = float(torch.stack([
        F.cross_entropy(logits, torch.full((16,), k)) for k in range(classes)
    ]).mean())  # fmt: skip
    assert abs(loss - math.log(classes)) < 0.5
