"""`ravine landscape`."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from ravine.cli.display import watching
from ravine.cli.options import AllowCodeOrModel, Device, Json, Precision, Quiet
from ravine.core.errors import SettingError
from ravine.landscapes.axes import Axis
from ravine.reports.hessian_figures import sharpness_notes
from ravine.reports.surface_figures import roughness_note
from ravine.runs.rows import plain
from ravine.training.settings import seconds_of
from ravine.workflows.landscape import run_surface


def landscape(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    *,
    budget: Annotated[
        str | None, typer.Option(help="The best picture in this time, such as 60s or 5min.")
    ] = None,
    along: Annotated[
        str, typer.Option(help="auto, random, line, trajectory, models or hessian.")
    ] = "auto",
    to: Annotated[
        list[Path] | None, typer.Option(help="Another run; twice for a path between three.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="running, batch or re-estimated; several by commas, side by side.")
    ] = "",
    data: Annotated[str | None, typer.Option(help="Labelled images; else the run's own.")] = None,
    labels: Annotated[str | None, typer.Option(help="CSV with the labels.")] = None,
    images: Annotated[int, typer.Option(help="Images, the same at every node.")] = 1000,
    nodes: Annotated[int, typer.Option(help="Nodes of an axis.")] = 51,
    x: Annotated[str | None, typer.Option(help="from:to:nodes of the first direction.")] = None,
    y: Annotated[str | None, typer.Option(help="from:to:nodes of the second direction.")] = None,
    seed: Annotated[int, typer.Option(help="Of directions and images.")] = 0,
    sharpness: Annotated[
        bool,
        typer.Option("--sharpness", help="Also eigenvalues, trace and density of the Hessian."),
    ] = False,
    convexity: Annotated[
        int, typer.Option(help="Also |λ min / λ max| on a grid of so many nodes a side.")
    ] = 0,
    ray: Annotated[str | None, typer.Option(help="A Ray cluster: HOST:PORT, or auto.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; else RUN/landscape.")] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    allow_code: AllowCodeOrModel = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Draw the loss surface around a trained network, with its trajectory.

    Called again, it goes on where a budget ended.

    Examples:

    - `ravine landscape runs/photos-1 --budget 60s`

    - `ravine landscape runs/photos-1 --policy running,batch --nodes 25`

    - `ravine landscape runs/photos-1 --to runs/photos-2`

    - `ravine landscape runs/photos-1 --sharpness --convexity 9 --images 200`

    - `ravine landscape runs/photos-1 --along random --x=-1:1:31 --y=-0.5:0.5:21`

    - `ravine landscape runs/photos-1 --allow-code mynets:small`
    """
    with watching(quiet=quiet, json=json) as screen:
        surfaces, files = run_surface(
            run,
            along=along,
            to=to or (),
            data=data,
            labels=labels,
            images=images,
            policies=[part.strip() for part in policy.split(",") if part.strip()],
            x=_axis("x", x),
            y=_axis("y", y),
            nodes=nodes,
            budget=seconds_of(budget) if budget is not None else None,
            seed=seed,
            sharpness=sharpness,
            convexity=convexity,
            ray=ray,
            device=device,
            precision=precision,
            out=out,
            allow_code=allow_code or (),
            progress=screen.progress,
        )
    told = ("eigenvalues", "residuals", "trace", "along")
    for surface in surfaces:
        low, about = surface.minimum, surface.about
        row = {
            "policy": about["policy"],
            "nodes": about["nodes"],
            "centre": about["centre_loss"],
            "minimum": low[2],
            **surface.roughness,
            **{
                name: surface.sharpness[name].tolist() for name in told if name in surface.sharpness
            },
            "files": [str(file) for file in files],
        }
        if json:
            known = {name: value for name, value in plain(row).items() if value is not None}
            print(json_format.dumps(known, ensure_ascii=False, allow_nan=False))
        else:
            print(
                f"{about['nodes']} nodes, batch norm: {about['policy']}; loss at the centre "
                f"{about['centre_loss']:.4g}, lowest {low[2]:.4g} at ({low[0]:.3g}, {low[1]:.3g})"
            )
            if rough := roughness_note(surface):
                print(rough)
            if surface.sharpness:
                print("\n".join(sharpness_notes(surface)))
    if not json:
        for file in files:
            print(file)


def _axis(name: str, text: str | None) -> Axis | None:
    if text is None:
        return None
    try:
        low, high, count = text.split(":")
        return float(low), float(high), int(count)
    except ValueError:
        raise SettingError(
            f"--{name} {text!r} is not from:to:nodes, such as --{name}=-1:1:51"
        ) from None
