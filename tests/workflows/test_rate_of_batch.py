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


@pytest.mark.parametrize(
    "given",
    [{"optimizer": "nesterov"}, {"lr": 1.0}, {"momentum": 0.9}, {"weight_decay": 0.0},
     {"norm": "none"}, {"weights": "runs/other"}, {"batch": 256}],
)  # fmt: skip
def test_swift_keeps_the_general_optimizer_where_a_setting_says_more(
    given: dict[str, object],
) -> None:
    recipe = Recipe.of({"model": "swift-1", "epochs": 2, **given})
    found, _ = with_model_defaults(recipe, batch_choice(recipe, images=60_000), several=False)
    assert found.optimizer == "nesterov"


@pytest.mark.parametrize(
    ("model", "images", "length", "within", "wanted"),
    [
        ("swift-2", 60_000, {"epochs": 8}, None, "muon-rescaled"),  # 1,872 steps
        ("swift-1", 60_000, {"epochs": 9}, None, "nesterov"),
        ("swift-1", 60_000, {"budget": 120.0}, 3.6, "muon-rescaled"),
        ("swift-1", 60_000, {"budget": 600.0}, 18.0, "nesterov"),
        ("swift-1", 60_000, {"budget": 600.0}, None, "muon-rescaled"),
        ("wrn-16-4", 60_000, {"epochs": 1}, None, "nesterov"),
    ],
)
def test_short_runs_of_swift_have_an_optimizer_of_their_own(
    model: str, images: int, length: dict[str, float], within: float | None, wanted: str
) -> None:
    recipe = Recipe.of({"model": model, **length})
    chosen = batch_choice(recipe, images=images, within=within)
    found, said = with_model_defaults(recipe, chosen, several=False)
    assert found.optimizer == wanted
    assert said.get("optimizer") == (wanted if wanted != "nesterov" else None)
