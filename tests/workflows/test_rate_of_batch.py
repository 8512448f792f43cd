"""The learning rate of a network that has its own: it follows the root of the batch."""

import pytest

from ravine.workflows.network_defaults import batch_choice, with_model_defaults
from ravine.workflows.recipe import Recipe


@pytest.mark.parametrize(("optimizer", "peak"), [("muon-rescaled", 0.18), ("nesterov", 2.5)])
@pytest.mark.parametrize(
    ("images", "epochs", "batch", "share"),
    [
        pytest.param(60_000, 20, 256, 1.0, id="the table's own batch"),
        pytest.param(2000, 20, 64, 0.25**0.5, id="a quarter of it"),
        pytest.param(500, 20, 32, 0.125**0.5, id="an eighth"),
        pytest.param(100, 20, 8, 0.125**0.5, id="no lower than that in a long run"),
        pytest.param(50, 24, 4, 0.125**0.5, id="288 steps are long"),
        pytest.param(500, 3, 8, 32**-0.5, id="186 are not"),
        pytest.param(50, 10, 4, 32**-0.5, id="no lower than of 8 images"),
        pytest.param(50, None, 4, 0.125**0.5, id="a budget gives few images many steps"),
    ],
)
def test_the_rate_of_swift_follows_the_root_of_the_batch(
    images: int,
    epochs: float | None,
    batch: int,
    share: float,
    optimizer: str,
    peak: float,
) -> None:
    length = {"budget": 20.0} if epochs is None else {"epochs": epochs}
    recipe = Recipe.of({"model": "swift-1", **length, "optimizer": optimizer})
    found, said = with_model_defaults(recipe, batch_choice(recipe, images=images), several=False)
    assert (found.batch, found.lr) == (batch, pytest.approx(share * peak, rel=3e-3))
    assert said["lr"] == found.lr


def test_a_batch_that_is_given_has_the_rate_of_its_root() -> None:
    recipe = Recipe.of({"model": "swift-1", "epochs": 20, "batch": 1024, "optimizer": "nesterov"})
    found, _ = with_model_defaults(recipe, batch_choice(recipe, images=60_000), several=False)
    assert found.lr == pytest.approx(5.0)
