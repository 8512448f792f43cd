"""`ravine train --weights RUN` without images: an ended run is trained further, on its own images.

The new run has the settings of the old one, but for its length, its learning rate and where it
starts: those belong to what the weights are now.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ravine.core.lazy import lazy_module
from ravine.core.paths import usable_path
from ravine.runs.folder import open_run_folder
from ravine.runs.recipe_file import read_recipe
from ravine.workflows.recipe import Recipe
from ravine.workflows.weights_path import is_run

if TYPE_CHECKING:
    from ravine.workflows import data_paths
else:
    data_paths = lazy_module("ravine.workflows.data_paths")

# What belongs to a run's start, input or length is decided anew, from its weights.
_ANEW = frozenset(
    {"weights", "freeze", "layer_decay", "views", "lr", "init", "zero_init", "norm_statistics"}
    | {"image_size", "mean", "std", "interpolation", "crop_share", "folds", "fold"}
)
_LENGTHS = ("epochs", "budget")


def going_on(changes: Mapping[str, Any], *, recipe: str | Path | None = None) -> dict[str, Any]:
    """Returns the settings of a run that trains the weights of another one further.

    Args:
        changes: settings that the user gave; with images, or without `weights` of a run, they are
            returned as they are.
        recipe: that the user named, which has images of its own.

    Raises:
        RunError: the run is cross-validated, or its data is not there any more.
    """
    weights = changes.get("weights")
    if recipe is not None or changes.get("data") is not None:
        return dict(changes)
    if not isinstance(weights, str) or not weights.strip() or not is_run(weights):
        return dict(changes)
    folder = open_run_folder(usable_path("weights", weights))
    settings, _ = read_recipe(folder.recipe)
    before = data_paths.located(Recipe.of(settings), folder)
    given = any(changes.get(name) is not None for name in _LENGTHS)
    dropped = _ANEW.union(_LENGTHS if given else ())
    kept = {name: getattr(before, name) for name in settings if name not in dropped}
    return {**kept, **changes}
