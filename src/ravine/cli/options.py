"""Options that several commands share; `setting_flags` makes those of settings."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from ravine.cli.setting_flags import Json as Json
from ravine.cli.setting_flags import Quiet as Quiet
from ravine.cli.setting_flags import options_of
from ravine.core.errors import SettingError, unknown
from ravine.core.renamed import kept_name, with_new_names
from ravine.core.settings import Settings
from ravine.data.augment_settings import AugmentSettings
from ravine.data.settings import DataSettings
from ravine.models.settings import ModelSettings
from ravine.optim.settings import OptimizerSettings
from ravine.schedules.settings import ScheduleSettings
from ravine.training.settings import TrainingSettings
from ravine.weights.settings import WeightSettings
from ravine.workflows.recipe import Recipe

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
WeightsOf = Annotated[
    str, typer.Option(help="last, or best: of the best evaluation on the validation images.")
]
Precision = Annotated[str, typer.Option(help="auto, float32 or bfloat16.")]
ImageColumn = Annotated[
    str | None, typer.Option(help="Column of the file names [as in training, or a usual name].")
]
ImagesFolder = Annotated[
    str | None,
    typer.Option("--images", help="Folder of the images that a CSV names [its own]."),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Of several labels: probability of a yes, 0 to 1 [each label's own]."),
]
MovedData = Annotated[
    str | None, typer.Option(help="Where the data has been moved to; checked to be the same.")
]
AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        metavar="MODULE:CALLABLE",
        help="Code that the run or recipe names as its network, if you trust it.",
    ),
]
NotifyCommand = Annotated[
    str | None,
    typer.Option(
        "--notify",
        metavar="COMMAND",
        help="Called with what happened, as its last argument: at the end, at a critical finding.",
    ),
]
LogTo = Annotated[
    list[str] | None,
    typer.Option(
        "--log-to", metavar="TRACKER", help="tensorboard, mlflow, wandb or trackio, as well."
    ),
]
AllowCodeOrModel = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        "--model",
        metavar="MODULE:CALLABLE",
        help="Code that the run names as its network, if you trust it. [--model: the old name]",
    ),
]

_ARGUMENTS = ("out", "recipe")  # of commands; not settings

_PANELS: Mapping[str, type[Settings]] = {
    "Training": TrainingSettings,
    "Network": ModelSettings,
    "Trained weights": WeightSettings,
    "Optimizer": OptimizerSettings,
    "Schedule": ScheduleSettings,
    "Data": DataSettings,
    "Augmentation": AugmentSettings,
}


def setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives `command` an option for every setting of a recipe, passed as `settings`."""
    return options_of(_PANELS, omit=("data",))(command)


def _unknown(name: str, pair: str) -> SettingError:
    if name in _ARGUMENTS:
        value = pair.partition("=")[2]
        return SettingError(f"{name} is no setting of a recipe; write --{name} {value}")
    return unknown("setting", name, sorted(Recipe.model_fields))


def given(values: Mapping[str, Any], pairs: list[str]) -> dict[str, Any]:
    """Returns the settings that the user gave, those of `--set key=value` included.

    Raises:
        SettingError: a pair has no `=`, or names a setting twice.
    """
    known = Recipe.model_fields
    flags = {
        name: value
        for name, value in values.items()
        if kept_name(name) in known and value is not None
    }
    found = with_new_names(flags, known)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise SettingError(f"--set {pair!r} has no '='; write --set key=value")
        if kept_name(name) not in known:
            raise _unknown(name, pair)
        if kept_name(name) in found:
            raise SettingError(f"{name} is given twice; drop --set {pair}")
        found |= with_new_names({name: value.strip()}, known)
    return found


def data_argument(data: str | None, chosen: dict[str, Any]) -> str | None:
    """Returns the images of the argument DATA, or of `--set data=`, which is taken out.

    Raises:
        SettingError: both are given.
    """
    named: str | None = chosen.pop("data", None)
    if data is not None and named is not None:
        raise SettingError(f"the images are given twice: {data} and --set data={named}")
    return named if data is None else data
