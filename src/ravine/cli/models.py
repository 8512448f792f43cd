"""`ravine models`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ravine.cli.options import AllowCode
from ravine.cli.run_argument import existing_model
from ravine.core.allowed_code import AllowedCode
from ravine.core.lazy import lazy_module
from ravine.models.settings import ModelSettings
from ravine.models.table import FAMILIES, describe_stem, family_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ravine.models import layer_table
    from ravine.training import network_choice
    from ravine.workflows import model_latency
    from ravine.workflows import run as runs
else:
    torch = lazy_module("torch")
    layer_table = lazy_module("ravine.models.layer_table", for_good=True)
    network_choice = lazy_module("ravine.training.network_choice")
    model_latency = lazy_module("ravine.workflows.model_latency")
    runs = lazy_module("ravine.workflows.run", for_good=True)


def models(
    name: Annotated[
        str | None, typer.Argument(help="A network, or a run; without it, all are named.")
    ] = None,
    *,
    classes: Annotated[int, typer.Option(min=2, max=100_000, help="Classes.")] = 10,
    channels: Annotated[int, typer.Option(min=1, max=64, help="Channels of the images.")] = 3,
    image_size: Annotated[int, typer.Option(min=8, max=2048, help="Pixels a side.")] = 32,
    skip: Annotated[bool, typer.Option(help="With skip connections.")] = True,
    allow_code: AllowCode = None,
) -> None:
    """Name the networks, or show one layer by layer; of a run, also how fast it answers here.

    Examples:

    - `ravine models`

    - `ravine models wrn-16-4`

    - `ravine models resnet-50 --classes 1000 --image-size 224`

    - `ravine models runs/latest`
    """
    console = Console()
    if name is None:
        for line in _family_lines():
            console.print(line, highlight=False, soft_wrap=True)
        return
    if _is_run(Path(name)):
        _show_run(Path(name), allow_code or [], console)
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
    _print_table(name, model, channels=channels, image_size=image_size, console=console)
    console.print(describe_stem(name, image_size))


def _is_run(path: Path) -> bool:
    """Returns whether a name is the path of a run folder or of a model.safetensors."""
    try:
        return path.suffix == ".safetensors" or (path / "recipe.toml").is_file()
    except OSError:  # longer than a path can be
        return False


def _show_run(path: Path, allow_code: list[str], console: Console) -> None:
    trained = runs.Run.load(existing_model(path), allow_code=allow_code).trained
    made = trained.preprocessing
    size = {"channels": made.channels, "image_size": made.image_size}
    _print_table(trained.settings.model, trained.model, **size, console=console)
    for line in model_latency.latency_lines(trained.model, **size):
        console.print(line, highlight=False)


def _print_table(
    name: str, model: "nn.Module", *, channels: int, image_size: int, console: Console
) -> None:
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


def _family_lines() -> Iterator[str]:
    """Yields the lines about all networks."""
    width = max(map(len, FAMILIES))
    for name, family in FAMILIES.items():
        sizes = ", ".join(f"{one} {millions:.3g}" for one, millions in family.parameters.items())
        yield f"[bold]{name:{width}}[/bold]  {family.summary}"
        counts = f"; millions of parameters: {sizes}" if sizes else ""
        yield f"{'':{width}}  {family.use}{counts}"
    yield (
        "Without --model: with --budget what fits into it; with --epochs swift-1, and where these "
        "show many images wrn-16-4, or resnet-18 of images larger than 96×96."
    )
    yield "ravine models NAME shows one layer by layer, ravine bench NAME its speed here."
