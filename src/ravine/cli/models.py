"""`ravine models`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ravine.core.allowed_code import AllowedCode
from ravine.core.lazy import lazy_module
from ravine.models.settings import ModelSettings
from ravine.models.table import FAMILIES, describe_stem, family_of

if TYPE_CHECKING:
    import torch

    from ravine.models import layer_table
    from ravine.training import network_choice
else:
    torch = lazy_module("torch")
    layer_table = lazy_module("ravine.models.layer_table")
    network_choice = lazy_module("ravine.training.network_choice")


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
        for line in _family_lines():
            console.print(line, highlight=False, soft_wrap=True)
        return
    trained_with = network_choice.model_defaults(name, optimizer="nesterov")
    own = {key: trained_with[key] for key in ModelSettings.model_fields if key in trained_with}
    settings = ModelSettings.of({"model": name, "skip": skip, **own})
    code = AllowedCode.of(typed=[name])
    # Ravine's own networks are described without memory for their weights.
    described = family_of(name).build is not None
    with torch.device("meta" if described else "cpu"):
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


def _family_lines() -> Iterator[str]:
    """Yields the lines about all networks."""
    width = max(map(len, FAMILIES))
    for name, family in FAMILIES.items():
        sizes = ", ".join(f"{one} {millions:.3g}" for one, millions in family.parameters.items())
        yield f"[bold]{name:{width}}[/bold]  {family.summary}"
        counts = f"; millions of parameters: {sizes}" if sizes else ""
        yield f"{'':{width}}  {family.use}{counts}"
    yield (
        "Without --model: wrn-16-4 for small images, resnet-18 for larger ones, and with --budget "
        "what fits into it."
    )
    yield "ravine models NAME shows one layer by layer, ravine bench NAME its speed here."
