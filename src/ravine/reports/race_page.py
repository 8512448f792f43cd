"""The page of a race: results.json -> report.html, one file that opens offline."""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ravine.core.atomic import write_whole
from ravine.core.colours import shades_of
from ravine.core.page_style import page_style
from ravine.reports import race_figures
from ravine.reports.offline_charts import race_charts
from ravine.runs.rows import read_json
from ravine.runs.score import ACCURACY


def render_race(race: Path, *, with_plane: bool) -> Path:
    """Writes `race`/report.html, whole or not at all, and returns its path.

    Args:
        race: the folder.
        with_plane: put plane.svg into the page as it is: only where this process has drawn it.
    """
    path = race / "report.html"
    plane = (race / "plane.svg").read_text(encoding="utf-8") if with_plane else ""
    write_whole(path, race_page(read_json(race / "results.json"), plane=plane).encode())
    return path


def race_page(results: dict[str, Any], *, plane: str = "") -> str:
    """Returns the page of these results as HTML."""
    environment = Environment(
        loader=PackageLoader("ravine.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["page_style"] = Markup(page_style())
    environment.filters |= {"percent": _percent, "seconds": _seconds, "count": _count}
    names = [row["name"] for row in results["table"]]
    colours, shades = race_figures.colours(names), shades_of(names)
    epochs = {row["name"]: float(row["epochs"]) for row in results["table"]}
    ran = {name: curves for name, curves in results["curves"].items() if curves}
    target = results["target"]
    measure = results.get("measure", ACCURACY)  # races of before did not say
    return environment.get_template("race.html").render(
        r=results,
        shades=shades,
        measure=measure,
        curves=Markup(race_figures.curves(ran, colours, target, measure)) if ran else None,
        charts=race_charts(ran, shades, epochs, target, measure),
        rates=Markup(race_figures.sensitivity(results["trials"], colours, measure)),
        intervals=Markup(race_figures.intervals(results["table"], colours, measure))
        if ran
        else None,
        plane=Markup(plane),
        several_epochs=len({row["epochs"] for row in results["table"]}) > 1,
    )


def _percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}"


def _seconds(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "never"
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def _count(value: float | None) -> str:
    return "never" if value is None or not math.isfinite(value) else f"{value:,.0f}"
