"""`ravine export`."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.display import watching
from ravine.cli.options import AllowCodeOrModel, Json, Quiet
from ravine.cli.run_argument import TrainedArgument, existing_model
from ravine.core.errors import unknown
from ravine.core.lazy import lazy_module
from ravine.exports.format_names import FORMAT_NAMES

if TYPE_CHECKING:
    from ravine.cli import export_lines
    from ravine.workflows import export as workflow
else:
    export_lines = lazy_module("ravine.cli.export_lines")
    workflow = lazy_module("ravine.workflows.export", for_good=True)

Format = Annotated[str, typer.Option("--format", help="onnx, pt2, openvino or safetensors-timm.")]
Out = Annotated[Path | None, typer.Option(help="Folder to write. [RUN/exports/FORMAT]")]
Inside = Annotated[
    bool, typer.Option("--with-preprocessing", help="The file takes bytes, gives probabilities.")
]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Quantise, calibrated on training images; onnx only.")
]
Data = Annotated[
    str | None, typer.Option(help="Labelled images to prove it on. [the run's held-out ones]")
]
Labels = Annotated[str | None, typer.Option(help="CSV with the labels of --data.")]
Tolerance = Annotated[
    float | None, typer.Option(help="Largest difference of a probability allowed. [0.0001]")
]
MostLost = Annotated[
    float, typer.Option(min=0, max=100, help="Points of accuracy that --int8 may lose.")
]


def export(
    run: TrainedArgument = None,
    *,
    format_name: Format = "onnx",
    out: Out = None,
    with_preprocessing: Inside = False,
    int8: Int8 = False,
    data: Data = None,
    labels: Labels = None,
    tolerance: Tolerance = None,
    most_lost: MostLost = 1.0,
    allow_code: AllowCodeOrModel = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a trained network as ONNX or another format, and prove that it is right.

    The file is run beside the network on the validation images, and kept only if it answers alike.

    Examples:

    - `ravine export`, the newest run; then `python RUN/exports/onnx/predict.py IMAGE`

    - `ravine export runs/photos-1 --format pt2 --out deploy/`

    - `ravine export runs/photos-1 --with-preprocessing`

    - `ravine export runs/photos-1 --int8 --most-lost 0.5`
    """
    if format_name not in FORMAT_NAMES:
        raise unknown("format", format_name, FORMAT_NAMES)
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
        print(json_format.dumps({"folder": str(folder), **proof.to_json()}, ensure_ascii=False))
        return
    lines = export_lines.lines_of(folder, proof)
    print("\n".join(lines[:1] if quiet else lines))
