"""`ravine bench`."""

import json as json_format
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ravine.cli.display import meter
from ravine.cli.options import Json, Precision
from ravine.core.lazy import lazy_module
from ravine.models.table import check_name
from ravine.runs.rows import plain

if TYPE_CHECKING:
    from ravine.ops import algorithm
    from ravine.workflows import bench as workflow
else:
    algorithm = lazy_module("ravine.ops.algorithm")
    workflow = lazy_module("ravine.workflows.bench", for_good=True)


def bench(
    network: Annotated[str, typer.Argument(help="A network; see ravine models.")] = "wrn-16-4",
    *,
    batch: Annotated[int | None, typer.Option(help="Images of a step.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of the images.")] = None,
    threads: Annotated[int, typer.Option(help="Threads on the CPU; 0: one per core.")] = 0,
    precision: Precision = "auto",
    seconds: Annotated[float, typer.Option(help="Time for the loops, after a warm-up.")] = 20.0,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Time the best flags under torch.compile too.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure the plan anew.")] = False,
    limits: Annotated[bool, typer.Option(help="Measure the machine's limits too.")] = True,
    json: Json = False,
) -> None:
    """Measure how fast this machine trains a network: plain loop, best flags, Ravine.

    Prints the processor and its limits, the kernel plan that runs here use, with the time of each
    candidate, and images/s of three loops that take turns. Batch and size are those of
    docs/speed.md; for a network that is not there 64 images of 32×32×3.

    Examples:

    - `ravine bench`

    - `ravine bench wrn-28-10 --seconds 120 --compile`

    - `ravine bench resnet-18 --size 64 --batch 64 --precision float32`

    - `RAVINE_KERNELS=avx2 ravine bench --json`
    """
    if network != "auto":  # which `BenchRequest` refuses with its own words
        check_name(network)
    request = workflow.BenchRequest.of(
        network,
        size=size,
        channels=channels,
        batch=batch,
        seconds=seconds,
        fresh=fresh,
        compile=compile_,
        threads=threads,
        precision=precision,
    )
    with meter() as progress:
        result = workflow.bench(request, limits=limits, progress=progress)
    if json:
        for row in result.rows():
            print(json_format.dumps(plain(row), ensure_ascii=False))
        return
    _show(result, Console(highlight=False))


def _show(result: "workflow.BenchResult", console: Console) -> None:
    machine, request = result.machine, result.request
    console.print(
        f"{machine.processor}: level {machine.level}, L2 {_size(machine.l2_bytes)}, "
        f"threads {machine.threads}, torch {machine.torch}, {result.device}, {result.precision}",
        soft_wrap=True,
    )
    for name, rate in result.limits.items():
        console.print(f"{name}: {rate:.2f}")
    if result.kernels.entries:
        console.print(_plan(result))
    else:
        console.print("convolutions: torch's; there is no other algorithm here")
    console.print(_speeds(result))
    best = "compiled" if result.best_flags == workflow.COMPILED else "eager"
    ratios = result.ratios
    console.print(
        f"Ravine trains {request.network} {ratios['ravine / plain']:.2f} times as fast as the "
        f"plain loop, {ratios['ravine / best flags']:.2f} times as fast as the best flags ({best})",
        soft_wrap=True,
    )


def _size(count: int) -> str:
    return f"{count / 2**20:g} MiB" if count else "unknown"


def _plan(result: "workflow.BenchResult") -> Table:
    table = Table("convolution", title="kernel plan: milliseconds of forward and gradients")
    shown = [n for n in algorithm.ALGORITHMS if any(n in e.seconds for e in result.kernels.entries)]
    for name in ("images", *shown):
        table.add_column(name, justify="right")
    table.add_column("runs")
    for entry in result.kernels.entries:
        times = [f"{1e3 * entry.seconds[n]:.2f}" if n in entry.seconds else "" for n in shown]
        table.add_row(entry.shape.geometry(), str(entry.images or ""), *times, entry.algorithm)
    return table


def _speeds(result: "workflow.BenchResult") -> Table:
    request = result.request
    size = f"{request.size}×{request.size}×{request.channels}"
    table = Table("loop", title=f"{request.network}, {size}, batch {request.batch}")
    table.add_column("images/s", justify="right")
    words = {
        workflow.PLAIN: "plain: float32, eager, contiguous",
        workflow.FLAGS: f"best flags: {result.precision}, channels_last, fused SGD, eager",
        workflow.COMPILED: "best flags, compiled",
        workflow.RAVINE: "Ravine, whole loop",
    }
    speed: dict[str, Any] = result.images_per_second
    for name, text in words.items():
        if name in speed:
            table.add_row(text, f"{speed[name]:,.1f}")
    return table
