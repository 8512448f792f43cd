"""Which network a budget gets, and what it is trained with."""

from collections.abc import Callable

import pytest

from ravine.data.opening import open_dataset
from ravine.models import build
from ravine.training.network_choice import (
    MANY_SHOWN,
    SMALL_IMAGES,
    choose_batch,
    choose_for_budget,
    choose_for_epochs,
    model_defaults,
)
from ravine.training.plan import Plan
from ravine.workflows.assemble import assemble
from ravine.workflows.recipe import Recipe, compose
from ravine.workflows.session import Session


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
    assert choose_for_budget(224, lambda _: 9.0, budget=60.0, residual=True).model == "resnet-50"
    assert choose_for_budget(224, lambda _: 9.0, budget=60.0, residual=False).model == "swift-1"


@pytest.mark.parametrize("size", [10, 14, 28, 96, 224])
@pytest.mark.parametrize("images", [12, 1_000_000])
@pytest.mark.parametrize("residual", [False, True])
def test_every_choice_is_a_network_that_can_be_built(
    size: int, images: int, residual: bool
) -> None:
    for name in (
        choose_for_epochs(size, images=images, epochs=1, residual=residual).model,
        choose_for_budget(size, lambda _: 0.0, budget=1.0, residual=residual).model,
    ):
        build(name, classes=3, image_size=size, skip=not residual)


@pytest.mark.parametrize(
    ("size", "images", "epochs", "wanted"),
    [
        (28, 12, 1, "swift-1"),
        (28, 50, 25, "swift-1"),
        (32, 2000, 24, "swift-1"),
        (32, MANY_SHOWN - 1, 1, "swift-1"),
        (32, MANY_SHOWN, 1, "wrn-16-4"),
        (28, 60_000, 30, "wrn-16-4"),
        (224, 500, 10, "swift-1"),
        (224, 60_000, 30, "resnet-18"),
        (10, 50, 10, "wrn-16-4"),  # too small for swift
    ],
)
def test_epochs_of_few_images_get_a_network_of_few_steps(
    size: int, images: int, epochs: float, wanted: str
) -> None:
    found = choose_for_epochs(size, images=images, epochs=epochs, residual=False)
    assert found.model == wanted
    assert found.reason.startswith(f"{wanted}: the default for ")


def test_the_reason_of_a_network_for_epochs_says_from_where_on_it_is_another() -> None:
    few = choose_for_epochs(28, images=50, epochs=2.5, residual=False).reason
    assert "50 images of 28×28 and 2.5 epochs (wrn-16-4 from 50,000 images × epochs)" in few
    many = choose_for_epochs(224, images=60_000, epochs=30, residual=False).reason
    assert "60,000 images of 224×224 and 30 epochs (swift-1 below 50,000" in many


def test_other_networks_and_optimizers_have_their_own_defaults() -> None:
    assert model_defaults("wrn-16-4", optimizer="nesterov") == {}
    assert "lr" not in model_defaults("swift-2", optimizer="adam")


@pytest.mark.parametrize(
    ("images", "epochs", "batch"),
    [
        (60_000, None, 128),
        (60_000, 1, 128),
        (1280, None, 128),  # 10 steps an epoch
        (1279, None, 64),
        (1280, 10, 128),  # 100 steps
        (1280, 9.9, 64),
        (162, 10, 16),
        (45, 10, 4),
        (3, 1, 4),
    ],
)
def test_the_batch_leaves_ten_steps_an_epoch_and_a_hundred_a_run(
    images: int, epochs: float | None, batch: int
) -> None:
    found = choose_batch(images, largest=128, epochs=epochs, smallest=4)
    assert found.batch == batch
    assert found.batch_of_rate() == max(batch, 8)
    assert found.batch_of_rate(normalised=False) == 128


def test_no_batch_is_halved_below_what_the_processes_need() -> None:
    assert choose_batch(45, largest=128, epochs=1, smallest=32).batch == 32


def prepared(**settings: object) -> Recipe:
    given = {"data": "@fashion", "epochs": 20, "model": "swift-1"}
    given |= {"convolution": "guess", "augment": "crop"}  # nothing is measured or asked
    recipe, _ = compose(None, given | settings)
    told: list[str] = []
    dataset = open_dataset(recipe, seed=0)
    session = Session(observers=[lambda event: told.append(str(event))])
    return assemble(recipe, dataset, session, plan=None).recipe


def test_few_epochs_get_swift_with_its_settings_unless_only_a_residual_one_will_do() -> None:
    few = prepared(model="auto", epochs=1)
    assert (few.model, few.activation, few.momentum) == ("swift-1", "gelu", 0.85)
    asked: list[dict[str, object]] = [{"skip": False}, {"zero_init": True}, {"norm": "group"}]
    for settings in asked:
        assert prepared(model="auto", epochs=1, **settings).model == "wrn-16-4"
    assert prepared(model="auto", epochs=1000).model == "wrn-16-4"


def test_every_fold_gets_the_same_network() -> None:
    """The folds train on 8,571 and on 8,572 images."""
    fold = {"model": "auto", "folds": 7, "epochs": MANY_SHOWN / 8571.5}

    assert prepared(**fold, fold=1).model == prepared(**fold, fold=6).model


def test_what_the_user_says_is_kept_and_the_rest_is_filled_in() -> None:
    alone = prepared(epochs=60)
    assert (alone.batch, alone.lr, alone.momentum, alone.bias_lr_multiplier) == (
        256,
        2.5,
        0.85,
        64.0,
    )
    # Said, though it is the default: kept, and the rate follows the root of the batch.
    said = prepared(epochs=60, batch=128, momentum=0.9)
    assert (said.batch, said.lr, said.momentum) == (128, 1.77, 0.9)
    adam = prepared(epochs=60, optimizer="adam")
    assert (adam.batch, adam.bias_lr_multiplier, adam.label_smoothing) == (256, 1.0, 0.2)
    # What is written down is all said.
    again = prepared(**{**alone.model_dump(), "label_smoothing": 0.0})
    assert again == alone.with_(label_smoothing=0.0)


@pytest.mark.slow
def test_a_run_of_before_there_were_small_images_goes_on_with_full_ones() -> None:
    recipe, _ = compose(None, {"data": "@fashion", "budget": 30.0, "model": "swift-1"})
    recipe = recipe.with_(convolution="guess", augment="crop")
    parts = {"dataset": open_dataset(recipe, seed=0), "session": Session()}
    fresh = assemble(recipe.with_(small_size=20), plan=None, **parts)
    assert fresh.plan.speed is not None
    assert fresh.plan.speed.small_step > 0
    assert fresh.plan.speed.small_share == 0.75
    older = Plan(total_steps=300, steps_per_epoch=35)
    assert assemble(recipe, plan=older, **parts).training.small is None


def test_a_short_run_has_smaller_batches_and_what_the_user_says_is_kept() -> None:
    short = prepared(epochs=1)
    assert short.batch < 256
    assert short.lr == pytest.approx(2.5 * (short.batch / 256) ** 0.5, rel=3e-3)
    assert prepared(epochs=1, batch=128).lr == 1.77
    assert prepared(epochs=1, lr=0.7).lr == 0.7
    plain = prepared(epochs=1, model="wrn-10-1")
    assert plain.lr == 3.0 * plain.batch / 128
    assert prepared(epochs=1, model="wrn-10-1", batch=64).lr == 1.5
    # Without norms the rate is limited by the first slope, whatever batch is chosen.
    bare = prepared(epochs=1, model="wrn-10-1", norm="none")
    assert bare.batch == plain.batch
    assert bare.lr == pytest.approx(0.1)


def test_small_batches_without_norms_have_limited_gradients() -> None:
    few = prepared(epochs=0.2, model="wrn-10-1", norm="none")
    assert few.batch < 32
    assert few.clip == 1.0
    assert prepared(epochs=0.2, model="wrn-10-1", norm="none", clip=5.0).clip == 5.0
    assert prepared(epochs=20, model="wrn-10-1", norm="none").clip is None
    assert prepared(epochs=0.2, model="wrn-10-1").clip is None


def test_a_short_run_of_swift_has_smaller_batches() -> None:
    def batch(images: int, **length: float | None) -> int:
        settings: dict[str, float | None] = {"epochs": None, **length}
        return choose_batch(images, largest=256, model="swift-1", **settings).batch  # type: ignore[arg-type]

    assert batch(50_000, epochs=20) == 256
    assert batch(50_000, epochs=4) == 256, "each image is seen a few times"
    assert batch(30_000, epochs=8) == 128, "938 steps of 256 become 1,875"
    assert batch(5_000, epochs=20) == 64
    assert batch(5_000, epochs=1) == 32, "100 steps at least come first"
    assert batch(50_000) == 256, "a budget of unknown length"
    assert batch(50_000, within=3.6) == 256
    assert batch(9_000, within=12.8) == 64
    assert choose_batch(50_000, largest=128, epochs=1, model="wrn-16-4").batch == 128
