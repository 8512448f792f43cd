"""The report of a run: one HTML file that opens offline and prints well."""

import time
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ravine.core.atomic import write_whole
from ravine.reports import curve_figures, layer_figures
from ravine.reports.contents import Contents, gather
from ravine.reports.evaluation_page import evaluation_parts
from ravine.reports.folds_page import folds_page
from ravine.reports.offline_charts import run_charts
from ravine.reports.page_environment import page_environment
from ravine.reports.report_summary import progress_line, summary_lines
from ravine.reports.run_pictures import data_pictures, surface_pictures
from ravine.reports.surface_drawing import surface_drawings
from ravine.reports.timeline import timeline
from ravine.reports.variance_figure import variance_drawing
from ravine.runs.folder import RunFolder
from ravine.runs.layers_file import LayerRecords

# Shown first; the others are folded.
_MAIN_SETTINGS = (
    *("data", "labels", "model", "optimizer", "lr", "batch", "epochs", "budget", "seed"),
    *("schedule", "weight_decay", "augment", "mixup", "label_smoothing", "dropout", "image_size"),
    *("precision", "device", "patience"),
)


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
    """Returns the report of a run folder as HTML, that of a cross-validated run too."""
    if RunFolder(run).folds:
        return folds_page(run)
    contents = gather(run, layers=layers)
    return (
        page_environment()
        .get_template("report.html")
        .render(
            contents=contents,
            folder=str(run),
            main_settings=_MAIN_SETTINGS,
            summary=summary_lines(contents),
            progress=progress_line(contents.state),
            written=time.strftime("%Y-%m-%d %H:%M:%S"),
            surfaces=surface_drawings(run),
            surface_images=surface_pictures(run),
            pictures=data_pictures(run),
            **_drawings(contents),
            **evaluation_parts(run, contents.evaluation, contents.recipe),
        )
    )


def _drawings(contents: Contents) -> dict[str, Any]:
    """Returns the figures; matplotlib escapes the texts in them, so that no filter is needed."""
    several = len(contents.steps) > 1  # one row of steps, as of a run of a second, is no curve
    enough = bool(contents.epochs) or several
    return {
        "timeline": _timeline(contents),
        "curves": Markup(curve_figures.curves(contents.epochs, contents.steps)) if enough else None,
        "charts": run_charts(contents.steps, contents.epochs, contents.findings),
        "rates": Markup(curve_figures.rates_and_speed(contents.steps)) if several else None,
        **_inside(contents),
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
