"""`ravine models`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ravine.core.allowed_code import AllowedCode
from ravine.core.lazy import lazy_module
from ravine.models.settings import ModelSettings
from ravine.models.table import MODELS, describe_stem, family_of

if TYPE_CHECKING:
    import torch

    from ravine.models import layer_table
else:
    torch = lazy_module("torch")
    layer_table = lazy_module("ravine.models.layer_table")


def models(
    name: Annotated[
        str | None, typer.Argument(help="A network; without it, all are named.")
    ] = None,
    *,
    classes: Annotated[int, typer.Option(min=2, max=100_000, help="Classes.")] = 10,
    channels: Annotated[int, typer.Option(min=1, max=64, help="Channels of the images.")] = 3,
    image_size: Annotated[int, typer.Option(min=8, max=2048, help="Pixels a side.")] = 32,
    skip: Annotated[bool, typer.Option(help="With skip connections.")] = True,
) -> None:
    """Name the networks, or show one layer by layer.

    Examples:

    - `ravine models`

    - `ravine models wrn-16-4`

    - `ravine models resnet-50 --classes 1000 --image-size 224`
    """
    console = Console()
    if name is None:
        for pattern, about in MODELS.items():
            console.print(f"[bold]{pattern:24}[/bold] {about}", highlight=False)
        return
    settings = ModelSettings.of({"model": name, "skip": skip})
    code = AllowedCode.of(typed=[name])
    # Ravine's own networks are described without memory for their weights.
    own = family_of(name).build is not None
    with torch.device("meta" if own else "cpu"):
        model = settings.build_model(
            classes=classes, channels=channels, image_size=image_size, code=code
        )
    rows = layer_table.summary(model, channels=channels, image_size=image_size)
    table = Table(
        "layer", "kind", "output", title=f"{name} on {channels}×{image_size}×{image_size}"
    )
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    for row in rows:
        shape = "×".join(str(size) for size in row.output_shape)
        table.add_row(row.layer, row.kind, shape, f"{row.parameters:,}", f"{row.multiply_adds:,}")
    table.add_section()
    total = sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)
    table.add_row("all", "", "", f"{total[0]:,}", f"{total[1]:,}", style="bold")
    console.print(table)
    console.print(describe_stem(name, image_size))
