"""Whether a run that leaves its augmentation to Ravine mixes images by cutmix."""

from dataclasses import replace

import numpy as np
import pytest

from ravine.core.events import Event
from ravine.data.dataset import Dataset, Preprocessing
from ravine.workflows.augmentation import with_augmentation, with_mixing
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session


def dataset() -> Dataset:
    return Dataset(
        images=np.zeros((6, 8, 8, 1), np.uint8),
        labels=np.array([0, 1, 0, 1, 0, 1]),
        classes=("cat", "dog"),
        splits={"train": np.arange(6)},
        names=[str(n) for n in range(6)],
        preprocessing=Preprocessing(image_size=8, channels=1, mean=(0.5,), std=(0.2,)),
        audit={},
        fingerprint="",
    )


def chosen(passes: float, **settings: object) -> tuple[float, list[str]]:
    """Returns α and what was said, of a run that makes so many passes over its images."""
    told: list[str] = []

    def observe(event: Event) -> None:
        told.append(str(event))

    session = Session(observers=[observe])
    recipe = Recipe.of({"budget": 30.0, **settings})
    spelled = with_augmentation(recipe, dataset(), session)
    return with_mixing(spelled, dataset(), session, lambda: passes).cutmix, told


def test_only_many_passes_are_worth_it_and_the_line_says_how_to_switch_it_off() -> None:
    few, said = chosen(12.0)
    assert few == 0.0
    assert not any("cutmix" in line for line in said)
    many, said = chosen(500.0)
    assert many == 1.0
    assert any("about 500 times" in line and "--cutmix 0" in line for line in said)
    assert chosen(300.0)[0] == 0.0  # as few steps, with six images
    assert chosen(300.0, batch=2)[0] == 1.0


@pytest.mark.parametrize(
    ("settings", "alpha"),
    [
        ({"cutmix": 0.0}, 0.0),
        ({"cutmix": 0.3}, 0.3),
        ({"mixup": 0.2}, 0.0),
        ({"augment": "none"}, 0.0),
        ({"augment": "flip,crop"}, 0.0),
        ({"weights": "runs/other"}, 0.0),
    ],
)
def test_what_the_user_says_is_kept(settings: dict[str, object], alpha: float) -> None:
    assert chosen(1000.0, **settings)[0] == alpha


def test_images_of_several_labels_are_not_mixed() -> None:
    several = replace(dataset(), labels=np.eye(2, dtype=np.uint8)[[0, 1, 0, 1, 0, 1]])
    session = Session()
    recipe = with_augmentation(Recipe(budget=30.0), several, session)
    assert with_mixing(recipe, several, session, lambda: 1000.0).cutmix == 0.0


def test_a_recipe_that_was_spelled_out_does_not_ask_again() -> None:
    session = Session()
    once = with_augmentation(Recipe(budget=30.0), dataset(), session)
    written = with_mixing(once, dataset(), session, lambda: 500.0)
    again = with_augmentation(written, dataset(), session)
    assert with_mixing(again, dataset(), session, lambda: 1.0) == written
