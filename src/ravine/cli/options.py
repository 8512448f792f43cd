"""Options that several commands share, and those that are made from settings.

A setting's option is made from its field: one name, one text, one check.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo

from ravine.core.errors import SettingError
from ravine.core.renamed import ALIASES, RENAMED, kept_name, with_new_names
from ravine.core.settings import Settings
from ravine.data.augment_settings import AugmentSettings
from ravine.data.settings import DataSettings
from ravine.models.settings import ModelSettings
from ravine.optim.settings import OptimizerSettings
from ravine.schedules.settings import ScheduleSettings
from ravine.training.settings import TrainingSettings
from ravine.workflows.recipe import Recipe

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or bfloat16.")]
AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        metavar="MODULE:CALLABLE",
        help="Code that the run or recipe names as its network, if you trust it.",
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

_PANELS: Mapping[str, type[Settings]] = {
    "Training": TrainingSettings,
    "Network": ModelSettings,
    "Optimizer": OptimizerSettings,
    "Schedule": ScheduleSettings,
    "Data": DataSettings,
    "Augmentation": AugmentSettings,
}


def setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives `command` an option for every setting of a recipe, passed as `settings`."""
    return options_of(_PANELS, omit=("data",))(command)


def options_of(
    panels: Mapping[str, type[Settings]], *, omit: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns a decorator that gives a command an option for every field of some settings.

    Args:
        panels: settings by the title of their panel in the help.
        omit: fields without an option.
    """
    fields = [
        (name, field, panel)
        for panel, group in panels.items()
        for name, field in group.model_fields.items()
        if name not in omit
    ]
    added = [_parameter(*one) for one in fields]
    names = {name for name, _, _ in fields}
    hidden = {**RENAMED, **ALIASES}
    added += [_other_name(other) for other, name in hidden.items() if name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def with_options(**values: Any) -> None:
            command(**values)

        own = inspect.signature(command).parameters.values()
        parameters = [*(p for p in own if p.kind is not p.VAR_KEYWORD), *added]
        with_options.__name__ = command.__name__
        with_options.__doc__ = command.__doc__
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_options

    return decorate


def _parameter(name: str, field: FieldInfo, panel: str) -> inspect.Parameter:
    flag = name.replace("_", "-")
    is_switch = field.annotation is bool
    names = [f"--{flag}/--no-{flag}"] if is_switch else [f"--{flag}"]
    text, default = _text(field), _shown(field)
    option = typer.Option(
        *names,
        help=text if default is None else f"{text} [{default}]",
        rich_help_panel=panel,
        show_default=False,
        metavar=None if is_switch else _metavar(field),
    )
    kind = bool | None if is_switch else str | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def _other_name(name: str) -> inspect.Parameter:
    """Returns the flag of an old or an other name of a setting; no help shows it."""
    option = typer.Option(f"--{name.replace('_', '-')}", hidden=True)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


def _text(field: FieldInfo) -> str:
    """Returns the description in one line."""
    return " ".join((field.description or "").split())


def _shown(field: FieldInfo) -> str | None:
    """Returns the default as it is typed; None where the description says what is chosen."""
    default = field.get_default(call_default_factory=True)
    if default is None or default == () or "by default" in _text(field):
        return None
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _metavar(field: FieldInfo) -> str:
    choices = [str(item) for item in get_args(field.annotation) if isinstance(item, str)]
    return "|".join(choices) if choices else "VALUE"


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
        if kept_name(name) in found:
            raise SettingError(f"{name} is given twice; drop --set {pair}")
        found |= with_new_names({name: value.strip()}, known)
    return found
