"""The templates of pages, and how values are written in them."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ravine.core.counted import counted
from ravine.core.page_style import page_style


@cache
def page_environment() -> Environment:
    """Returns the templates, which are compiled once."""
    environment = Environment(
        loader=PackageLoader("ravine.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["page_style"] = Markup(page_style())
    environment.filters |= {"percent": _percent, "between": _between}
    environment.filters |= {"duration": _duration, "shown": _shown, "setting": _setting}
    environment.filters |= {"counted": counted}
    return environment


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{_percent(interval[0])}–{_percent(interval[1])}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        words = (f"{str(name).replace('_', ' ')} {_shown(one)}" for name, one in value.items())
        return ", ".join(words) or "–"
    if isinstance(value, list):
        gap = "; " if any(isinstance(item, Mapping) for item in value) else ", "
        return gap.join(_shown(item) for item in value) or "–"
    return "–" if value is None or value == "" else str(value)


def _setting(value: Any, name: str) -> str:
    """Returns a setting as it is typed: a budget with its unit."""
    is_seconds = name == "budget" and isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}s" if is_seconds else _shown(value)
