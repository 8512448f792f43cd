"""`ravine train`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.display import watching
from ravine.cli.options import (
    AllowCode,
    Json,
    LogTo,
    NotifyCommand,
    Quiet,
    data_argument,
    given,
    setting_options,
)
from ravine.core.launch import is_secondary_process
from ravine.core.lazy import lazy_module
from ravine.core.notice import Notice
from ravine.runs.folder import RUNS
from ravine.workflows import train as workflow
from ravine.workflows.screens import Screen

if TYPE_CHECKING:
    from ravine.cli import result
    from ravine.trackers import tracker
    from ravine.workflows import watch as watch_workflow
else:
    result = lazy_module("ravine.cli.result")
    tracker = lazy_module("ravine.trackers.tracker")
    watch_workflow = lazy_module("ravine.workflows.watch")


@setting_options
def train(
    data: Annotated[
        str | None,
        typer.Argument(help="Folder, CSV, .tar, IDX, CIFAR, .npz file, or @fashion (the sample)."),
    ] = None,
    *,
    out: Annotated[str | None, typer.Option(help="The run folder [runs/DATA-MODEL-N].")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe to start from: FILE.toml, fast or wrn-paper.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by name.")
    ] = None,
    allow_code: AllowCode = None,
    log_to: LogTo = None,
    notify: NotifyCommand = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Open the live page while it trains.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a classifier on labelled images.

    Examples:

    - `ravine train photos/ --budget 10min`

    - `ravine train images/ --labels train.csv --model wrn-16-4 --optimizer nadam`

    - `ravine train @fashion --epochs 5 --out runs/first`

    - `ravine train --recipe runs/first/recipe.toml --seed 1`

    - `ravine train photos/ --model mynets:small`

    - `ravine train --recipe runs/photos-1/recipe.toml --allow-code mynets:small`
    """
    chosen = given(settings, set_ or [])
    images = data_argument(data, chosen)
    with watching(quiet=quiet, json=json, is_training=True) as screen, _page(out, screen, watch):
        run = workflow.train(
            images,
            out=out,
            recipe=recipe,
            allow_code=allow_code or (),
            observers=[screen.observe],
            progress=screen.progress,
            show="none",
            log_to=tracker.names_in(log_to or ()),
            notify=notify or (),
            **chosen,
        )
    result.show_result(run, json=json)


@contextmanager
def _page(out: str | None, screen: Screen, asked: bool) -> Iterator[None]:
    """Serves the live page of the runs that this one lies among, where it is asked for."""
    if not asked or is_secondary_process():
        yield
        return

    def opened(url: str) -> None:
        screen.observe(Notice(text=f"watching at {url} until this run ends, then: ravine watch"))
        watch_workflow.open_page(url)

    with watch_workflow.page_of(RUNS if out is None else Path(out).parent, ready=opened):
        yield
