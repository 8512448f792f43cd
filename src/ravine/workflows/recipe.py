"""A recipe: all settings of a run in one flat, frozen object.

Each room keeps its own group of settings; the recipe is all of them at once, so that it is
passed to each room as it is and every option has one name everywhere: on the command line,
in recipe.toml and in Python.
"""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.errors import SettingError, unknown
from ravine.core.renamed import with_new_names
from ravine.core.validation import check_text
from ravine.data.augment_settings import AugmentSettings
from ravine.data.settings import DataSettings
from ravine.models.settings import ModelSettings
from ravine.optim.settings import OptimizerSettings
from ravine.runs.recipe_file import read_recipe
from ravine.schedules.settings import ScheduleSettings
from ravine.training.settings import TrainingSettings
from ravine.weights.settings import WeightSettings

DEFAULT_BUDGET = 600.0


class Recipe(
    DataSettings,
    AugmentSettings,
    ModelSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrainingSettings,
    WeightSettings,
):
    """Everything that decides a run."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.budget is not None:
            raise SettingError("epochs and budget exclude each other; give one of them")
        return self

    @model_validator(mode="after")
    def _patience_has_its_own_images(self) -> Self:
        if self.patience and self.folds is not None:
            raise SettingError(
                "patience and folds exclude each other: a fold's validation images are its test, "
                "and whoever stops by them is judged too well"
            )
        return self

    @model_validator(mode="after")
    def _momentum_to_move(self) -> Self:
        if self.momentum_schedule != "constant" and not self.has_momentum:
            raise SettingError(
                f"momentum_schedule {self.momentum_schedule}: {self.optimizer} has no momentum; "
                "take constant, or adam for rmsprop with momentum"
            )
        return self

    def changed_from_default(self) -> dict[str, Any]:
        """Returns the settings that differ from their defaults."""
        default = type(self)()
        return {k: v for k, v in self.model_dump().items() if v != getattr(default, k)}


def fast() -> Recipe:
    """Returns the recipe for quick results: a minute and a half, or the budget that is given.

    The network and what it is trained with follow the budget, as always; the last percent comes
    from test-time flip: the mean over each image and its mirror image.
    """
    return Recipe(budget=90.0, tta=True)


def wrn_paper() -> Recipe:
    """Returns the recipe of the WideResNet paper (Zagoruyko, Komodakis 2016): 200 epochs.

    SGD with Nesterov momentum 0.9 and learning rate 0.1, which is the EMA form's 1.0; times 0.2
    after 60, 120 and 160 epochs; batch 128; weight decay 5e-4; flip and 4-pixel padded crop.
    """
    return Recipe(
        model="wrn-28-10",
        optimizer="nesterov",
        lr=1.0,
        schedule="step",
        warmup=0.0,
        weight_decay=5e-4,
        batch=128,
        epochs=200,
        augment="flip,crop",
    )


RECIPES: Mapping[str, Callable[[], Recipe]] = {"fast": fast, "wrn-paper": wrn_paper}


def load_recipe(name_or_path: str | Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Returns the settings of a recipe and its plan, if it has one.

    A name that ends in .toml is a file; any other names one of `RECIPES`.

    Raises:
        SettingError: no recipe has this name.
        RunError: the file is missing or is not TOML.
    """
    name = str(name_or_path)
    check_text("recipe", name)
    if name.endswith(".toml"):
        return read_recipe(Path(name))
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        if not near and "/" in name:
            raise SettingError(f"recipe {name!r}: a recipe file ends in .toml")
        raise unknown("recipe", name, RECIPES)
    # What a recipe names counts as given, though it be the default: no batch of its is halved.
    return RECIPES[name]().model_dump(exclude_unset=True), None


# What decides how many steps a run takes: if one is changed, a recipe's plan no longer holds.
_DECIDES_PLAN = {
    "data",
    "labels",
    "images",
    "validation",
    "folds",
    "fold",
    "group_column",
    "group_from_name",
    "batch",
    "epochs",
    "budget",
    "model",
    "layout",
    "class_level",
    "label_from_name",
    "split_column",
    "weights",
    "freeze",
    "views",
}


def compose(
    base: str | Path | None, changes: Mapping[str, Any], *, code: AllowedCode = NO_CODE
) -> tuple[Recipe, dict[str, Any] | None]:
    """Returns the recipe `base` with `changes` made to it, and its plan if it still holds.

    Args:
        base: name or file of a recipe.
        changes: what the user gave.
        code: the `module:callable`s that may be imported, those in `changes` included.

    Raises:
        CodeRefusedError: the recipe's network is code that is not allowed.
        SettingError: a setting is unknown or out of range, or two exclude each other.
    """
    settings, plan = ({}, None) if base is None else load_recipe(base)
    settings = with_new_names(settings, Recipe.model_fields)
    changes = with_new_names(changes, Recipe.model_fields)
    for name, other in (("epochs", "budget"), ("budget", "epochs")):
        if changes.get(name) is not None and changes.get(other) is None:
            settings.pop(other, None)
    recipe = Recipe.of({**settings, **changes})
    code.check(recipe.model, source=Path(base) if base else None)
    if plan is not None and any(
        settings.get(name) != value for name, value in changes.items() if name in _DECIDES_PLAN
    ):
        plan = None
    if plan is not None:
        plan.pop("stop", None)  # a new run decides for itself
    if recipe.epochs is None and recipe.budget is None:
        recipe = recipe.with_(budget=DEFAULT_BUDGET)
    return recipe, plan
