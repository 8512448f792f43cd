"""The types that editors see are those of the recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_type_hints

from ravine.workflows.recipe import Recipe
from ravine.workflows.recipe_types import RecipeSettings

# What is taken as a text or a number, and kept as a number; what has a list or one number; paths.
WIDER = {
    "budget": float | str | None,
    "dropout": float | Sequence[float],
    "labels": str | Path | None,
    "images": str | Path | None,
}


def test_every_setting_has_the_type_of_its_field() -> None:
    declared = get_type_hints(RecipeSettings)
    kept = get_type_hints(Recipe)

    assert set(declared) == set(Recipe.model_fields) - {"data"}
    assert {name: kind for name, kind in declared.items() if name not in WIDER} == {
        name: kept[name] for name in declared if name not in WIDER
    }
    assert {name: declared[name] for name in WIDER} == WIDER


def test_a_path_is_taken_where_a_text_is() -> None:
    assert Recipe.of({"labels": Path("a") / "train.csv"}).labels == "a/train.csv"
