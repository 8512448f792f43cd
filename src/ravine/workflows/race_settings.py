"""Settings of a race on labelled images, and its candidates.

A candidate is a recipe with some settings changed: another optimizer, or any other setting.
Candidates come from axes (`optimizer=momentum,adam`, `init=xavier,he`); several axes give every
combination.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, final

from pydantic import BeforeValidator, Field, model_validator

from ravine.core.errors import SettingError, unknown
from ravine.core.settings import Settings
from ravine.data.location import refuse_missing
from ravine.training.settings import Seconds
from ravine.workflows.recipe import Recipe
from ravine.workflows.weights_path import refuse_missing_weights

_OF_THE_RACE = {"seed": "--seeds", "epochs": "--epochs", "budget": "--budget", "data": "DATA"}
_NUMBERS = re.compile(r"[\d.eE+-]+(/[\d.eE+-]+)+")
_SIZES = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def bytes_of(text: Any) -> Any:
    """Returns the bytes of a size such as `500M` or `4G`; numbers are bytes.

    Raises:
        SettingError: the text is no size.

    >>> bytes_of("4G")
    4294967296
    """
    if not isinstance(text, str):
        return text
    number, unit = text.strip().lower().removesuffix("b").removesuffix("i"), 1
    if number and number[-1] in _SIZES:
        number, unit = number[:-1], _SIZES[number[-1]]
    try:
        return int(float(number) * unit)
    except (ValueError, OverflowError):
        raise SettingError(f"memory {text!r} is no size; write for example 500M or 4G") from None


Size = Annotated[int, BeforeValidator(bytes_of), Field(gt=0)]


@final
class RaceSettings(Settings):
    """The settings of a race; those of its recipe are shared by all candidates."""

    candidates: dict[str, dict[str, Any]]
    """Name of each candidate, and the settings that it changes in the recipe."""

    trials: int = Field(default=6, ge=1, le=1000)
    """Trials of each candidate, at the same points for all."""

    seeds: int = Field(default=3, ge=1, le=1000)
    """Fresh seeds on which the best trial of each is run again."""

    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Passes over the training images of a whole run. Excludes budget."""

    budget: Seconds | None = None
    """Time of the whole race; it decides the epochs of a run from a measured step."""

    equal: Literal["epochs", "seconds"] = "epochs"
    """Whether all runs have the same number of epochs, or of seconds."""

    target: float | None = Field(default=None, gt=0, le=1)
    """Validation accuracy to which the time is measured; by default from the trials."""

    early: bool = True
    """Stop hopeless trials early."""

    seed: int = Field(default=0, ge=0, le=2**31)
    """Seed of the trial points and of every trial; the fresh seeds follow it."""

    limit: Seconds | None = None
    """Limit of seconds of one job; a trial that needs longer is out."""

    memory: Size | None = None
    """Limit of memory of one job, such as 4G; by default an equal share of the machine's."""

    def to_values(self) -> dict[str, Any]:
        """Returns plain values, for race.json; its key of the candidates is `entrants`."""
        values = self.model_dump()
        return {"entrants": values.pop("candidates"), **values}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings that `to_values` gave.

        Raises:
            SettingError: a value does not fit.
        """
        rest = {name: value for name, value in values.items() if name != "entrants"}
        return cls.of({"candidates": values["entrants"], **rest})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.epochs is not None and self.budget is not None:
            raise SettingError("epochs and budget exclude each other; give one of them")
        if self.equal == "seconds" and self.budget is None:
            raise SettingError("equal seconds needs --budget, from which the seconds follow")
        if len(self.candidates) < 2:
            raise SettingError(
                "a race needs at least 2 candidates: --optimizers momentum,adam, "
                "or a setting with several values: --vary init=xavier,he"
            )
        return self


def combinations(axes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """Returns every combination of the values of the axes, by name.

    A repeated value gives two candidates, so that a method can race against itself.

    >>> combinations({"optimizer": ["adam", "nadam"]})
    {'adam': {'optimizer': 'adam'}, 'nadam': {'optimizer': 'nadam'}}
    >>> list(combinations({"init": ["he"], "dropout": ["0", "0.3"]}))
    ['init=he dropout=0', 'init=he dropout=0.3']

    Raises:
        SettingError: an axis is no setting, has no value, or belongs to the race itself.
    """
    for name, values in axes.items():
        if name not in Recipe.model_fields:
            raise unknown("setting", name, sorted(Recipe.model_fields))
        if name in _OF_THE_RACE:
            raise SettingError(f"{name} cannot be varied; it is {_OF_THE_RACE[name]} of the race")
        if not values:
            raise SettingError(f"--vary {name}= has no values; write --vary {name}=A,B")
    found: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*axes.values()):
        changes = dict(zip(axes, combination, strict=True))
        plain = [v if k in ("optimizer", "model") else f"{k}={v}" for k, v in changes.items()]
        name = first = " ".join(plain)
        count = 1
        while name in found:
            count += 1
            name = f"{first} ({count})"
        found[name] = changes
    return found


def axes_of(optimizers: str, vary: Sequence[str]) -> dict[str, list[str]]:
    """Returns the axes that `--optimizers a,b` and `--vary setting=a,b` name.

    >>> axes_of("momentum,adam", ["init=xavier,he"])
    {'optimizer': ['momentum', 'adam'], 'init': ['xavier', 'he']}
    >>> axes_of("", ["dropout=0/0.3/0.3,0", "weights=none,runs/a,timm/resnet18"])
    {'dropout': ['0,0.3,0.3', '0'], 'weights': ['none', 'runs/a', 'timm/resnet18']}

    Raises:
        SettingError: a `--vary` has no `=`, or a setting is named twice.
    """
    axes: dict[str, list[str]] = {}
    pairs = [f"optimizer={optimizers}"] if optimizers else []
    for pair in [*pairs, *vary]:
        name, equals, values = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise SettingError(f"--vary {pair!r} has no '='; write --vary init=xavier,he")
        if name in axes:
            raise SettingError(f"{name} is varied twice; name all its values in one --vary")
        axes[name] = [_value(v.strip()) for v in values.split(",") if v.strip()]
    return axes


def _value(text: str) -> str:
    """Returns a value; several numbers by stage, as dropout takes them, are joined by a slash."""
    return text.replace("/", ",") if _NUMBERS.fullmatch(text) else text


def check_early(data: str, axes: Mapping[str, Sequence[str]], settings: Mapping[str, Any]) -> None:
    """Raises for what cannot work on these images, before anything heavy is loaded.

    Raises:
        SettingError: a setting of a candidate does not fit.
        DataError: there are no images at `data`.
        RunError: there are no weights as a candidate names them.
    """
    for changes in combinations(axes).values():
        recipe = Recipe.of({"data": data, **settings, **changes})
        recipe.check_options()
        refuse_missing_weights(recipe.weights)
        refuse_missing(recipe)
