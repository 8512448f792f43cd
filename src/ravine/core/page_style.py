"""The stylesheet that all pages share, with the table of colours written into it."""

from functools import cache
from importlib.resources import files

from ravine.core.colours import NAMED, SHADES


@cache
def page_style() -> str:
    """Returns the text of the stylesheet: `var(--blue)`, `var(--training)` are the table's."""
    text = files("ravine.core").joinpath("page.css").read_text("utf-8")
    light = "".join(f" --{name}: {shade.light};" for name, shade in SHADES.items())
    dark = "".join(f" --{name}: {shade.dark};" for name, shade in SHADES.items())
    roles = "".join(f" --{n}: var(--{s});" for n, s in NAMED.items() if " " not in n)
    return text.replace("/*LIGHT*/", light).replace("/*DARK*/", dark).replace("/*ROLES*/", roles)
