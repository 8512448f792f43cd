"""From trained weights to a run: the settings that they bring along, and the record of the run."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import RunError, SettingError
from ravine.core.tensor_file import load_tensors, save_tensors
from ravine.data.array_channels import array_channels
from ravine.data.channel_counts import PLAIN
from ravine.models.settings import ModelSettings
from ravine.runs.folder import RunFolder
from ravine.runs.rows import read_json, write_json
from ravine.weights.start import StartWeights
from ravine.weights.trained_weights import TrainedWeights, load_trained
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session
from ravine.workflows.weights_source import open_weights


def with_settings_of(
    recipe: Recipe, trained: TrainedWeights, notify: Callable[[str], None]
) -> Recipe:
    """Returns the recipe with the network and the input of its weights, and reports both.

    What the user has set stays, and the line says so.

    Raises:
        SettingError: nobody has named the network.
    """
    network = network_settings(recipe, trained)
    if recipe.model == "auto" and "model" not in network:
        raise SettingError(
            f"{trained.source} does not say of which network it is; name it, for example "
            "--model resnet-18"
        )
    known = trained.input.settings()
    chosen = {k for k in known if k in recipe.model_fields_set and getattr(recipe, k) != "auto"}
    unfit = _unfit_normalisation(recipe, known, chosen)
    asked = {k: v for k, v in known.items() if k in chosen and getattr(recipe, k) != v}
    taken = {k: v for k, v in known.items() if k not in chosen and k not in unfit}
    licence = f"licence {trained.licence}" if trained.licence else "no licence stated"
    notify(f"weights of {trained.source}, {licence}")
    if taken:
        notify(f"input as the weights were trained: {_listed(taken)}")
    if unfit:
        notify(
            f"{' and '.join(unfit)} as measured on the training images: the weights were trained "
            f"on images of {len(known[unfit[0]])} channels, and these have others"
        )
    for name, value in asked.items():
        notify(
            f"{name} {_shown(getattr(recipe, name))}, as asked; the weights were trained with "
            f"{_shown(value)}"
        )
    return recipe.with_(**network, **taken)


def _unfit_normalisation(
    recipe: Recipe, known: Mapping[str, Any], chosen: Collection[str]
) -> list[str]:
    """Returns which of the weights' mean and std are for images of other channels than these.

    Grey and colour take each other's; for bands there is none in colours.

    Args:
        recipe: of the run, with its data.
        known: of the weights' input.
        chosen: what the user has set.
    """
    names = [name for name in ("mean", "std") if name in known and name not in chosen]
    if not names:
        return []
    here = array_channels(recipe)
    plain = here is None or here in PLAIN
    return [
        name
        for name in names
        if len(known[name]) != here and not (plain and len(known[name]) in PLAIN)
    ]


def opened_start(
    recipe: Recipe, session: Session, code: AllowedCode, *, kept: Path | None = None
) -> tuple[Recipe, StartWeights | None]:
    """Returns a new run's recipe with what its trained weights bring along, and these weights.

    Args:
        recipe: as it was composed.
        session: whose observers receive what the weights are.
        code: the `module:callable`s that may be imported as the network.
        kept: the file in which a cross-validated run keeps the weights of its folds.

    Raises:
        RavineError: the weights are not there or cannot be used.
    """
    if recipe.weights is None:
        return recipe, None
    trained = open_weights(recipe.weights, code=code) if kept is None else load_trained(kept)
    return with_settings_of(recipe, trained, session.notify), StartWeights(trained=trained)


def network_settings(recipe: Recipe, trained: TrainedWeights) -> dict[str, Any]:
    """Returns the settings of the weights' network that the user has not set."""
    if recipe.model not in ("auto", trained.model):
        return {}
    known = {k: v for k, v in trained.network.items() if k in ModelSettings.model_fields}
    # How the weights were initialised is of no interest once they are trained.
    return {
        name: value
        for name, value in known.items()
        if name not in recipe.model_fields_set and name not in ("init", "zero_init")
    }


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items())


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{number:.4g}" for number in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_start(folder: RunFolder, start: StartWeights | None) -> None:
    """Writes the weights of before step 1 and their record; nothing where the run starts fresh.

    Raises:
        RunError: the disk does not allow it.
    """
    if start is None:
        return
    if start.stored is not None:
        save_tensors(folder.start, start.stored, {})
    write_json(folder.weights_record, dict(start.record))


def read_start(folder: RunFolder, recipe: Recipe) -> StartWeights | None:
    """Returns the weights that a run started from; None where it started fresh.

    Raises:
        RunError: the run's file is missing or torn.
    """
    if recipe.weights is None:
        return None
    if not folder.start.is_file():
        raise RunError(
            f"{folder.start} is missing, with which the run began; put it back, or begin anew: "
            f"ravine train --recipe {folder.recipe}"
        )
    record = read_json(folder.weights_record) if folder.weights_record.is_file() else {}
    return StartWeights(stored=load_tensors(folder.start)[0], record=record)
