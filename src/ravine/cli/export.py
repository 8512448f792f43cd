"""`ravine export`."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.display import watching
from ravine.cli.options import AllowCodeOrModel, Json, Quiet
from ravine.cli.run_argument import TrainedArgument, existing_model
from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    from ravine.cli import export_lines
    from ravine.workflows import export as workflow
else:
    export_lines = lazy_module("ravine.cli.export_lines")
    workflow = lazy_module("ravine.workflows.export")

Format = Annotated[str, typer.Option("--format", help="onnx, pt2, openvino or safetensors-timm.")]
Tolerance = Annotated[
    float | None, typer.Option(help="Largest difference of a probability allowed. [0.0001]")
]


def export(
    run: TrainedArgument,
    *,
    format_name: Format = "onnx",
    out: Annotated[Path | None, typer.Option(help="Folder to write. [RUN/exports/FORMAT]")] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option("--with-preprocessing", help="The file takes bytes, gives probabilities."),
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise, calibrated on training images; onnx only.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Labelled images to prove it on. [the run's held-out ones]")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="CSV with the labels of --data.")] = None,
    tolerance: Tolerance = None,
    most_lost: Annotated[
        float, typer.Option(min=0, max=100, help="Points of accuracy that --int8 may lose.")
    ] = 1.0,
    allow_code: AllowCodeOrModel = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a trained network as ONNX or another format, and prove that it is right.

    The file is run beside the network on the validation images, and kept only if it answers alike.

    Examples:

    - `ravine export runs/latest`, then `python runs/latest/exports/onnx/predict.py IMAGE`

    - `ravine export runs/photos-1 --format pt2 --out deploy/`

    - `ravine export runs/photos-1 --with-preprocessing`

    - `ravine export runs/photos-1 --int8 --most-lost 0.5`
    """
    run = existing_model(run)
    with watching(quiet=quiet, json=json) as screen:
        folder, proof = workflow.export_file(
            run,
            out,
            format=format_name,
            with_preprocessing=with_preprocessing,
            int8=int8,
            data=data,
            labels=labels,
            tolerance=tolerance,
            most_lost=most_lost / 100,
            allow_code=allow_code or (),
            progress=screen.progress,
        )
    if json:
        row = {"folder": str(folder), **proof.to_json()}
        print(json_format.dumps(row, ensure_ascii=False))
        return
    lines = export_lines.lines_of(folder, proof)
    print("\n".join(lines[:1] if quiet else lines))
