"""The networks of a race of starts for which none is named: those that the weights are of."""

from collections.abc import Callable, Mapping
from typing import Any

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import SettingError
from ravine.weights.trained_weights import TrainedWeights
from ravine.workflows.race_settings import RaceSettings
from ravine.workflows.recipe import Recipe
from ravine.workflows.start_weights import network_settings
from ravine.workflows.weights_source import open_weights


def with_networks_of_weights(
    race: RaceSettings, recipe: Recipe, code: AllowedCode, notify: Callable[[str], None]
) -> RaceSettings:
    """Returns the race with a network for every candidate where its weights name one.

    Each start has the network of its own weights; fresh weights that of the first others.

    Args:
        race: whose candidates may differ in their weights.
        recipe: that all share.
        code: the `module:callable`s that may be imported as the networks.
        notify: receives a line that names the networks.

    Raises:
        RavineError: the weights are not there, cannot be used, or do not say of which network.
    """
    candidates = dict(race.candidates)
    starts = {
        name: Recipe.of({"weights": changes.get("weights", recipe.weights)}).weights
        for name, changes in candidates.items()
        if recipe.model == "auto" and "model" not in changes
    }
    sources = dict.fromkeys(start for start in starts.values() if start is not None)
    if not sources:
        return race
    opened = {start: open_weights(start, code=code) for start in sources}
    for name, start in starts.items():
        trained = opened[next(iter(sources)) if start is None else start]
        candidates[name] = {**_network_of(trained, recipe), **candidates[name]}
    models = ", ".join(dict.fromkeys(str(candidates[name]["model"]) for name in starts))
    notify(
        f"network {models}, of which the weights are; fresh weights are those of the first "
        "(--model names another)"
    )
    return RaceSettings.of({**race.model_dump(), "candidates": candidates})


def _network_of(trained: TrainedWeights, recipe: Recipe) -> Mapping[str, Any]:
    found = network_settings(recipe, trained)
    if "model" not in found:
        raise SettingError(
            f"{trained.source} does not say of which network it is; name it, for example "
            "--model resnet-18"
        )
    return found
