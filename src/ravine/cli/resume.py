"""`ravine resume`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.display import watching
from ravine.cli.options import AllowCode, Json, LogTo, MovedData, NotifyCommand, Quiet
from ravine.cli.result import show_result
from ravine.cli.run_argument import RunArgument, existing_run
from ravine.core.lazy import lazy_module
from ravine.trackers.tracker import names_in

if TYPE_CHECKING:
    from ravine.workflows import resume as workflow
else:
    workflow = lazy_module("ravine.workflows.resume", for_good=True)


def resume(
    run: RunArgument = None,
    *,
    data: MovedData = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Resume a copy and compare its weights with the run's."),
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="With --verify: train the copy from step 0.")
    ] = False,
    allow_code: AllowCode = None,
    log_to: LogTo = None,
    notify: NotifyCommand = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Go on with a run that was stopped or killed.

    It ends with bitwise the same weights as if it had never been stopped; `--verify` proves it.

    Examples:

    - `ravine resume`, the newest run that has not ended

    - `ravine resume runs/latest --verify`

    - `ravine resume runs/photos-1 --data /new/place/photos`

    - `ravine resume runs/photos-1 --allow-code mynets:small`
    """
    run = existing_run(run, unfinished=not verify, folded=not verify)
    with watching(quiet=quiet, json=json, is_training=True) as screen:
        resumed = workflow.resume(
            run,
            data=data,
            allow_code=allow_code or (),
            observers=[screen.observe],
            progress=screen.progress,
            show="none",
            log_to=names_in(log_to or ()),
            notify=notify or (),
        )
    show_result(resumed, json=json)
    if verify:
        _verify(run, from_start=from_start, code=allow_code or (), quiet=quiet, json=json)


def _verify(run: Path, *, from_start: bool, code: Sequence[str], quiet: bool, json: bool) -> None:
    """Resumes a copy, and prints whether it ends with the same weights."""
    with watching(quiet=quiet, json=json, is_training=True) as screen:
        found = workflow.verify(
            run,
            from_start=from_start,
            allow_code=code,
            observers=[screen.observe],
            progress=screen.progress,
        )
    span = f"from step {found.from_step} to {found.total_steps}"
    if not found.same:
        print(f"ravine: the copy, trained {span}, ended with other weights", file=sys.stderr)
        raise typer.Exit(1)
    print(f"verified: a copy, trained {span}, ended with bitwise the same weights")
