"""Which network a budget gets, and what it is trained with."""

from collections.abc import Callable

import pytest

from ravine.data.opening import open_dataset
from ravine.models import build
from ravine.training.clock import Clock
from ravine.training.network_choice import (
    SMALL_IMAGES,
    choose_for_budget,
    choose_for_epochs,
    model_defaults,
)
from ravine.workflows.assemble import set_up
from ravine.workflows.recipe import Recipe, compose


def machine(first: float) -> Callable[[str], float]:
    """A machine that makes `first` epochs with the first candidate and a quarter with each next."""
    order = [name for name, _ in SMALL_IMAGES]
    return lambda name: first / 4 ** order.index(name)


@pytest.mark.parametrize(
    ("first", "wanted"),
    [(1.0, "swift-1"), (159.0, "swift-1"), (161.0, "swift-2"), (10_000.0, "wrn-28-10")],
)
def test_the_largest_network_that_sees_images_often_enough_is_taken(
    first: float, wanted: str
) -> None:
    assert choose_for_budget(32, machine(first), budget=60.0, residual=False).model == wanted


def test_what_only_residual_networks_have_decides_for_them() -> None:
    found = choose_for_budget(32, lambda _: 9.0, budget=60.0, residual=True)
    assert found.model == "wrn-28-10"
    assert choose_for_budget(10, lambda _: 1.0, budget=60.0, residual=False).model == "wrn-10-1"
    assert choose_for_budget(224, lambda _: 9.0, budget=60.0, residual=False).model == "resnet-50"


@pytest.mark.parametrize("size", [14, 28, 96, 224])
def test_every_choice_is_a_network_that_can_be_built(size: int) -> None:
    for name in (
        choose_for_epochs(size).model,
        choose_for_budget(size, lambda _: 0.0, budget=1.0, residual=False).model,
    ):
        build(name, classes=3, image_size=size)


def test_other_networks_and_optimizers_have_their_own_defaults() -> None:
    assert model_defaults("wrn-16-4", optimizer="nesterov") == {}
    assert "lr" not in model_defaults("swift-2", optimizer="adam")


def prepared(**settings: object) -> Recipe:
    recipe, _ = compose(None, {"data": "@fashion", "epochs": 1, "model": "swift-1", **settings})
    told: list[str] = []
    dataset = open_dataset(recipe, seed=0)
    found = set_up(recipe, dataset, plan=None, tell=lambda e: told.append(str(e)), clock=Clock())
    return found.recipe


def test_what_the_user_says_is_kept_and_the_rest_is_filled_in() -> None:
    alone = prepared()
    assert (alone.batch, alone.lr, alone.momentum, alone.bias_lr_multiplier) == (
        256,
        2.5,
        0.85,
        64.0,
    )
    # Said, though it is the default: kept, and the rate follows the batch.
    said = prepared(batch=128, momentum=0.9)
    assert (said.batch, said.lr, said.momentum) == (128, 1.25, 0.9)
    adam = prepared(optimizer="adam")
    assert (adam.batch, adam.bias_lr_multiplier, adam.label_smoothing) == (256, 1.0, 0.2)
    # What is written down is all said.
    again = prepared(**{**alone.model_dump(), "label_smoothing": 0.0})
    assert again == alone.with_(label_smoothing=0.0)
