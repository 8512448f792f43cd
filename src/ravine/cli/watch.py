"""`ravine watch`."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from ravine.core.errors import RunError
from ravine.core.lazy import lazy_module
from ravine.runs.folder import RUNS
from ravine.workflows import watch as workflow

if TYPE_CHECKING:
    from ravine.reports.live import terminal_view
else:
    terminal_view = lazy_module("ravine.reports.live.terminal_view")

_EVERY = 1.0  # seconds between two looks at the files


def watch(
    folder: Annotated[Path, typer.Argument(help="A folder of runs, or a run.")] = RUNS,
    *,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="In this terminal, and no server.")
    ] = False,
    run: Annotated[
        str | None, typer.Option(help="With --terminal: the run that is drawn [the newest].")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="With --terminal: show it and end.")] = False,
    port: Annotated[
        int | None, typer.Option(help="Of this machine [8917, or the next free one].", min=0)
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Show runs while they happen: a page in the browser, or in the terminal.

    The page is served to this machine alone and loads nothing from elsewhere; runs are read from
    their folders, however they were started.

    Examples:

    - `ravine watch`

    - `ravine watch results/ --terminal`, over ssh

    - `ssh -L 8917:127.0.0.1:8917 HOST ravine watch --no-open`, and open http://127.0.0.1:8917/ here
    """
    _expect_folder(folder, waits=not once)
    if not terminal:
        workflow.serve(folder, port=port, ready=lambda url: _ready(url, open_))
        return
    try:
        if once or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb"):
            _show_screen(folder, run, once=once)
        else:
            _print_lines(folder)
    except KeyboardInterrupt:
        return


def _expect_folder(folder: Path, *, waits: bool) -> None:
    """Prints that a folder is waited for, or refuses what is none."""
    if folder.is_dir():
        return
    if folder.exists() or not waits:
        raise RunError(f"no folder {folder}; name a folder of runs")
    print(f"no folder {folder} yet: waiting for its first run", flush=True)


def _ready(url: str, opens: bool) -> None:
    print(f"watching at {url} (Ctrl-C ends it)", flush=True)
    if opens:
        workflow.open_page(url)


def _show_screen(folder: Path, run: str | None, *, once: bool) -> None:
    view = terminal_view.TerminalView(folder, chosen=run)
    view.refresh()
    console = Console(highlight=False)
    if once:
        for line in view.lines(width=console.width, height=max(30, console.height)):
            console.print(line, soft_wrap=True)
        return
    with Live(view, console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.refresh()
            time.sleep(_EVERY)
            view.refresh()


def _print_lines(folder: Path) -> None:
    lines = terminal_view.EpochLines(folder)
    while True:
        for line in lines.new_lines():
            print(line, flush=True)
        time.sleep(_EVERY)
