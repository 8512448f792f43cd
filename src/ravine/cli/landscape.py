"""`ravine landscape`."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.display import watching
from ravine.cli.options import AllowCodeOrModel, Json, Quiet
from ravine.cli.run_argument import RunArgument, existing_model, existing_run
from ravine.cli.setting_flags import options_of
from ravine.core.lazy import lazy_module
from ravine.reports.surface_notes import roughness_note
from ravine.runs.rows import plain
from ravine.runs.surface import Surface
from ravine.workflows.landscape_settings import RunSurfaceSettings

if TYPE_CHECKING:
    from ravine.reports import hessian_figures
    from ravine.workflows import landscape as workflow
else:
    hessian_figures = lazy_module("ravine.reports.hessian_figures")
    workflow = lazy_module("ravine.workflows.landscape", for_good=True)

_FIGURES = ("eigenvalues", "residuals", "trace", "along")  # of the Hessian, in a row


@options_of({"Surface": RunSurfaceSettings})
def landscape(
    run: RunArgument = None,
    *,
    to: Annotated[
        list[Path] | None, typer.Option(help="Another run; twice for a path between three.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; else RUN/landscape.")] = None,
    allow_code: AllowCodeOrModel = None,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Draw the loss surface around a trained network, with its trajectory.

    Called again, it continues where a budget ended.

    Examples:

    - `ravine landscape --budget 60s`, around the newest run

    - `ravine landscape runs/photos-1 --policy running,batch --nodes 25`

    - `ravine landscape runs/photos-1 --to runs/photos-2`

    - `ravine landscape runs/photos-1 --sharpness --convexity 9 --images 200`

    - `ravine landscape runs/photos-1 --along random --x=-1:1:31 --y=-0.5:0.5:21`

    - `ravine landscape runs/photos-1 --allow-code mynets:small`
    """
    run = existing_model(run) if run is not None and run.is_file() else existing_run(run)
    with watching(quiet=quiet, json=json) as screen:
        surfaces, files = workflow.run_surface(
            run,
            to=to or (),
            out=out,
            allow_code=allow_code or (),
            progress=screen.progress,
            **{name: value for name, value in settings.items() if value is not None},
        )
    if json:
        for surface in surfaces:
            print(_row(surface, files))
    else:
        for surface in surfaces:
            print("\n".join(_lines(surface)))
        for file in files:
            print(file)


def _row(surface: Surface, files: list[Path]) -> str:
    about, found = surface.about, surface.sharpness
    row = {
        "policy": about["policy"],
        "nodes": about["nodes"],
        "centre": about["centre_loss"],
        "minimum": surface.minimum[2],
        **surface.roughness,
        **{name: found[name].tolist() for name in _FIGURES if name in found},
        "files": [str(file) for file in files],
    }
    known = {name: value for name, value in plain(row).items() if value is not None}
    return json_format.dumps(known, ensure_ascii=False, allow_nan=False)


def _lines(surface: Surface) -> list[str]:
    about, (x, y, lowest) = surface.about, surface.minimum
    lines = [
        f"{about['nodes']} nodes, batch norm: {about['policy']}; loss at the centre "
        f"{about['centre_loss']:.4g}, lowest {lowest:.4g} at ({x:.3g}, {y:.3g})"
    ]
    if rough := roughness_note(surface):
        lines.append(rough)
    return lines + (hessian_figures.sharpness_notes(surface) if surface.sharpness else [])
