"""The networks that `ravine check` compares: one recipe for each combination of settings."""

import itertools
from collections.abc import Mapping
from typing import Any

from ravine.workflows.recipe import Recipe

SEVERAL = ("model", "activation", "norm", "init")
_DEFAULT_MODEL = "resnet-cifar-20"


def variants(settings: Mapping[str, Any]) -> dict[str, Recipe]:
    """Returns a recipe for each combination, named by the settings that differ.

    Trained weights bring their network along; without it the recipe is named by them.
    """
    trained = Recipe.of({"weights": settings.get("weights")}).weights
    given = dict(settings) if trained else {"model": _DEFAULT_MODEL, **settings}
    lists = {name: str(given[name]).split(",") for name in SEVERAL if name in given}
    lists = {name: [one.strip() for one in values] for name, values in lists.items()}
    shown = [name for name, values in lists.items() if len(values) > 1] or ["model"]
    found = {}
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        name = ", ".join(chosen.get(name, trained or "") for name in shown)
        found[name] = Recipe.of({**given, **chosen})
    return found
