"""Notices a recipe.toml that was edited after its run began.

environment.json keeps the settings and the plan that the run began with. A run that goes on with
others would be neither the old run nor a new one.
"""

import json
from collections.abc import Mapping
from typing import Any

from ravine.core.errors import RunError
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_environment
from ravine.runs.rows import plain
from ravine.training.plan import Plan
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session

# Where the data lies is checked by its content; the others decide nothing of the training.
_FREE = frozenset(
    {"data", "labels", "images", "cache", "workers", "stream"}
    | {"checkpoint_every", "monitor", "keep_weights", "keep_best"}
)
_ONLY_ROUNDING = frozenset({"threads", "device", "compile"})
_PLANNED = ("total_steps", "steps_per_epoch", "evaluate_every")


def settings_to_keep(recipe: Recipe, plan: Plan) -> dict[str, Any]:
    """Returns what environment.json keeps of a run's recipe and plan."""
    return {"recipe": recipe.model_dump(mode="json"), "plan": _planned(plan.to_values())}


def refuse_edited(
    folder: RunFolder, recipe: Recipe, plan: Mapping[str, Any] | None, session: Session
) -> None:
    """Raises `RunError` if the recipe is not the one that the run began with.

    A change that only alters rounding is reported. Runs of before, which keep no settings, pass.
    """
    began = read_environment(folder.environment)
    before, planned = began.get("recipe"), began.get("plan")
    if not isinstance(before, dict) or not isinstance(planned, dict):
        return
    now = json.loads(json.dumps(plain(recipe.model_dump(mode="json"))))
    changed = [
        (name, before[name], value)
        for name, value in now.items()
        if name in before and before[name] != value and name not in _FREE
    ]
    now_planned = _planned(plan or {})
    changed += [
        (f"plan.{name}", planned.get(name), now_planned.get(name))
        for name in _PLANNED
        if planned.get(name) != now_planned.get(name)
    ]
    for name, old, new in changed:
        what = f"{folder.recipe}: {name} is {_shown(new)}, and the run began with {_shown(old)}"
        if name not in _ONLY_ROUNDING:
            raise RunError(
                f"{what}; put it back, or begin anew: ravine train --recipe {folder.recipe}"
            )
        session.notify(
            f"{what}: the weights are no longer bitwise those of an undisturbed run", warning=True
        )


def _planned(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values.get(name) for name in _PLANNED}


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)[:80]
