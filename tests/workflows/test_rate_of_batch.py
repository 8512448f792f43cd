"""The learning rate of a network that has its own: it follows the root of the batch."""

import pytest

from ravine.workflows.network_defaults import batch_choice, with_model_defaults
from ravine.workflows.recipe import Recipe


@pytest.mark.parametrize(
    ("images", "batch", "lr"),
    [
        pytest.param(60_000, 256, 2.5, id="the table's own batch"),
        pytest.param(2000, 128, 2.5 * 0.5**0.5, id="half of it"),
        pytest.param(500, 32, 2.5 * 0.125**0.5, id="an eighth"),
        pytest.param(100, 8, 2.5 / 32**0.5, id="a thirty-second"),
        pytest.param(50, 4, 2.5 / 32**0.5, id="no lower than that"),
    ],
)
def test_the_rate_of_swift_follows_the_root_of_the_batch(
    images: int, batch: int, lr: float
) -> None:
    recipe = Recipe.of({"model": "swift-1", "epochs": 20})
    found, said = with_model_defaults(recipe, batch_choice(recipe, images=images), several=False)
    assert (found.batch, found.lr) == (batch, pytest.approx(lr, rel=3e-3))
    assert said["lr"] == found.lr


def test_a_batch_that_is_given_has_the_rate_of_its_root() -> None:
    recipe = Recipe.of({"model": "swift-1", "epochs": 20, "batch": 1024})
    found, _ = with_model_defaults(recipe, batch_choice(recipe, images=60_000), several=False)
    assert found.lr == pytest.approx(5.0)
