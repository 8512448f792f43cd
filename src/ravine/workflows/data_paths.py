"""Where a run's data lies: kept absolute beside the path as typed, and found again after a move.

environment.json holds them under "paths", so that `ravine resume` works from any folder. The
recipe keeps what the user typed. Whether the data is the same, its fingerprint says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine.core.errors import RunError
from ravine.data.dataset import Dataset
from ravine.data.location import expand_path
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_environment
from ravine.runs.rows import write_json
from ravine.workflows.recipe import Recipe

_NAMES = ("data", "labels", "images")


def paths_of(recipe: Recipe) -> dict[str, str]:
    """Returns the absolute paths of a recipe's data, labels and images; samples have none."""
    typed = {name: getattr(recipe, name) for name in _NAMES}
    return {
        name: str(expand_path(path).absolute())
        for name, path in typed.items()
        if path and not path.startswith("@")
    }


def located(recipe: Recipe, folder: RunFolder, *, data: str | Path | None = None) -> Recipe:
    """Returns a run's recipe with paths where its data lies now.

    Args:
        recipe: of the run, with paths as typed.
        folder: of the run.
        data: where the data has been moved to; else it is looked for where the run found it, and
            then where the typed path leads from here.

    Raises:
        RunError: the data is not there any more, or not where it is said to be.
    """
    kept = kept_paths(folder)
    found = {name: path for name, path in kept.items() if Path(path).exists()}
    if data is not None:
        found = _moved(kept, str(expand_path(str(data)).absolute())) | found
        found["data"] = str(expand_path(str(data)).absolute())
    changes = {name: path for name, path in found.items() if getattr(recipe, name)}
    if "fit" not in recipe.model_fields_set:  # runs of before cut out the middle
        changes["fit"] = "crop"
    recipe = recipe.with_(**changes) if changes else recipe
    if data is not None and not Path(found["data"]).exists():
        raise RunError(f"{folder.path}: --data {data}: no such path")
    if recipe.data and not recipe.data.startswith("@") and not expand_path(recipe.data).exists():
        raise RunError(
            f"{folder.path}: its data is not at {kept.get('data', recipe.data)} any more; name "
            "where it is now: --data NEW"
        )
    return recipe


def keep_paths(folder: RunFolder, recipe: Recipe) -> None:
    """Writes where the data of a run lies now into environment.json."""
    facts = read_environment(folder.environment)
    write_json(folder.environment, facts | {"paths": paths_of(recipe)})


def refuse_other_data(folder: RunFolder, dataset: Dataset) -> None:
    """Raises `RunError` if a run's data is not what the run began with."""
    before = read_environment(folder.environment).get("data_fingerprint")
    if before != dataset.fingerprint:
        raise RunError(
            f"{folder.path}: the data is not what the run began with; put the old images back, "
            f"or begin anew: ravine train --recipe {folder.recipe}"
        )


def kept_paths(folder: RunFolder) -> dict[str, str]:
    """Returns the absolute paths that a run keeps of its data, labels and images, by setting."""
    try:
        paths: Any = read_environment(folder.environment).get("paths")
    except RunError:
        return {}  # the run says itself what it needs of this file
    if not isinstance(paths, Mapping):
        return {}
    return {name: paths[name] for name in _NAMES if isinstance(paths.get(name), str)}


def _moved(kept: Mapping[str, str], data: str) -> dict[str, str]:
    """Returns the labels and images that lay below the data, below its new path."""
    before = kept.get("data")
    moved = {}
    for name in ("labels", "images"):
        path = kept.get(name)
        if before and path and Path(path).is_relative_to(before):
            below = Path(data) / Path(path).relative_to(before)
            if below.exists():
                moved[name] = str(below)
    return moved
