"""Options that are made from settings: one name, one text, one check. Loads no torch."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperOption

from ravine.core.renamed import ALIASES, RENAMED
from ravine.core.setting_texts import setting_texts
from ravine.core.settings import Settings

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


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
        with_options.groups = panels  # type: ignore[attr-defined]
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
    option = typer.Option(
        *names,
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


def add_texts(options: Iterable[TyperOption], groups: Mapping[str, type[Settings]]) -> None:
    """Gives options of settings their help: the text of the setting, and its default.

    Args:
        options: of a command.
        groups: settings by the title of their panel, as `options_of` was given them.
    """
    texts = {panel: setting_texts(group) for panel, group in groups.items()}
    for option in options:
        panel, name = option.rich_help_panel or "", option.name or ""
        if option.help is None and panel in groups and name in groups[panel].model_fields:
            text = texts[panel].get(name, "")
            default = _shown(groups[panel].model_fields[name], text)
            option.help = text if default is None else f"{text} [{default}]"


def _shown(field: FieldInfo, text: str) -> str | None:
    """Returns the default as it is typed; None where the text says what is chosen."""
    default = field.get_default(call_default_factory=True)
    if default is None or default == () or "by default" in text:
        return None
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _metavar(field: FieldInfo) -> str:
    choices = [str(item) for item in get_args(field.annotation) if isinstance(item, str)]
    return "|".join(choices) if choices else "VALUE"
