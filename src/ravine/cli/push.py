"""`ravine push`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.options import AllowCodeOrModel, Quiet
from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    from ravine.workflows import push as workflow
else:
    workflow = lazy_module("ravine.workflows.push", for_good=True)


def push(
    run: Annotated[Path, typer.Argument(help="A run folder, or the folder of an export.")],
    name: Annotated[str, typer.Argument(help="Of the repository: owner/model, or model.")],
    *,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is seen by its owner only.")
    ] = False,
    license_name: Annotated[
        str, typer.Option("--license", help="As the hub names it, such as apache-2.0.")
    ] = "",
    allow_code: AllowCodeOrModel = None,
    quiet: Quiet = False,
) -> None:
    """Upload a trained network with a model card to the Hugging Face hub.

    Weights, exports and README.md are uploaded; nothing that names your files.

    Examples:

    - `ravine push runs/photos-1 me/photos --license apache-2.0`

    - `ravine push runs/photos-1/exports/safetensors-timm me/photos-timm --private`
    """
    address, files = workflow.push(
        run, name, private=private, license_name=license_name, allow_code=allow_code or ()
    )
    if not quiet:
        for file in files:
            print(f"  {file}")
    print(address)
