"""The report of a run: one HTML file that opens offline and prints well."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ravine.core.atomic import write_whole
from ravine.reports import curve_figures, layer_figures
from ravine.reports.class_tables import class_rows, confused_pairs
from ravine.reports.contents import Contents, gather
from ravine.reports.report_summary import summary_lines
from ravine.reports.run_pictures import mistake_pictures, surface_pictures
from ravine.reports.timeline import timeline
from ravine.reports.variance_figure import variance_drawing
from ravine.runs.folder import RunFolder
from ravine.runs.layers_file import LayerRecords
from ravine.runs.verdict import chance_of

_MATRIX_UP_TO = 25  # classes; of more, only the most confused pairs are shown


def render_report(run: Path, *, layers: LayerRecords | None = None) -> Path:
    """Writes `run`/report.html, whole or not at all, and returns its path.

    Only the plain files of the run are read; those that are missing are named on the page.

    Args:
        run: the folder.
        layers: the content of layers.jsonl, where it was read already.

    Raises:
        RunError: the disk is full or read-only.
    """
    folder = RunFolder(run)
    path = folder.report
    folder.sweep()
    write_whole(path, page(run, layers=layers).encode())
    return path


def page(run: Path, *, layers: LayerRecords | None = None) -> str:
    """Returns the report of a run folder as HTML."""
    contents = gather(run, layers=layers)
    return (
        _environment()
        .get_template("report.html")
        .render(
            contents=contents,
            summary=summary_lines(contents),
            chance=chance_of(contents.evaluation),
            mistakes=mistake_pictures(run, contents.evaluation.get("mistakes", [])),
            surfaces=surface_pictures(run),
            **_drawings(contents),
            **_tables(contents),
        )
    )


@cache
def _environment() -> Environment:
    """Returns the templates, which are compiled once."""
    environment = Environment(
        loader=PackageLoader("ravine.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "between": _between,
        "duration": _duration,
        "shown": _shown,
    }
    return environment


def _drawings(contents: Contents) -> dict[str, Markup | None]:
    """Returns the figures; matplotlib escapes the texts in them, so that no filter is needed."""
    enough = bool(contents.epochs or len(contents.steps) > 1)
    calibration = contents.evaluation.get("calibration")
    return {
        "timeline": _timeline(contents),
        "curves": Markup(curve_figures.curves(contents.epochs, contents.steps)) if enough else None,
        "rates": Markup(curve_figures.rates_and_speed(contents.steps)) if contents.steps else None,
        **_inside(contents),
        "reliability": Markup(curve_figures.reliability(calibration)) if calibration else None,
    }


def _inside(contents: Contents) -> dict[str, Markup | None]:
    """Figures of the layer statistics."""
    snapshots = contents.snapshots
    enough = len(snapshots) >= layer_figures.FEWEST
    sized = enough and any("var" in row for row in snapshots[-1].get("layers", {}).values())
    return {
        "scales": Markup(layer_figures.scales(snapshots)) if sized else None,
        "updates": Markup(layer_figures.update_ratios(snapshots)) if enough else None,
        "variance": Markup(variance_drawing(contents.variance)) if contents.variance else None,
    }


def _timeline(contents: Contents) -> Markup | None:
    dated = [row for row in contents.findings if isinstance(row.get("step"), int)]
    if not dated or len(contents.steps) < 2:
        return None
    return Markup(timeline(contents.steps, dated))


def _tables(contents: Contents) -> dict[str, Any]:
    evaluation = contents.evaluation
    if not evaluation:
        return {"classes": [], "pairs": [], "matrix": None, "labels": []}
    if "mean_ap" in evaluation:
        return {"classes": [], "pairs": [], "matrix": None, "labels": evaluation["labels"]}
    rows = evaluation["confusion"]
    small = len(evaluation["classes"]) <= _MATRIX_UP_TO
    shares = [[count / max(1, sum(row)) for count in row] for row in rows]
    return {
        "labels": [],
        "classes": class_rows(evaluation),
        "pairs": confused_pairs(evaluation),
        "matrix": list(zip(evaluation["classes"], rows, shares, strict=True)) if small else None,
    }


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
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "–"
    return "–" if value is None or value == "" else str(value)
