"""Which options of `ravine race` have an effect: on images, on a function, on a race that goes on.

An option without effect is refused by name and with its remedy.
"""

from collections.abc import Collection, Iterable

import typer

from ravine.core.errors import SettingError
from ravine.core.renamed import kept_name

_DISPLAY = frozenset({"quiet", "json", "out"})
FUNCTION_ONLY = frozenset({"steps", "start", "domain", "starts", "tune", "mp4"})
_ON_FUNCTION = frozenset(
    {*FUNCTION_ONLY, *_DISPLAY, "function", "optimizers", "trials", "lr", "seed"}
)
_GOES_ON = _DISPLAY | {"jobs", "ray", "allow_code"}


def given_options(context: typer.Context, pairs: Iterable[str]) -> list[str]:
    """Returns the names of the options and arguments in the command line, `--set` by its names."""
    names = [
        kept_name(name)
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    ]
    of_set = [kept_name(pair.partition("=")[0].strip().replace("-", "_")) for pair in pairs]
    return [*(name for name in names if name != "set_"), *of_set]


def check_options(given: Collection[str], *, function: str | None) -> None:
    """Refuses the options without effect.

    Args:
        given: names of the options in the command line.
        function: of `--function`; None for a race on images.

    Raises:
        SettingError: an option has no effect.
    """
    if function is not None:
        _refuse(given, _ON_FUNCTION, f"a race on --function {function}", "leave it out")
        return
    on_images = [name for name in given if name in FUNCTION_ONLY]
    _refuse(on_images, (), "a race on images", "add --function beale, or leave it out")
    if "out" in given and not {"data", "recipe"} & set(given):
        _refuse(
            given,
            _GOES_ON,
            "a race that goes on as it began",
            "leave it out, or name the images, and another --out, for a new race",
        )


def _refuse(given: Iterable[str], allowed: Collection[str], where: str, remedy: str) -> None:
    for name in given:
        if name not in allowed:
            raise SettingError(f"{_shown(name)} has no effect on {where}; {remedy}")


def _shown(name: str) -> str:
    return "DATA" if name == "data" else f"--{name.replace('_', '-')}"
