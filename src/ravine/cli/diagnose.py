"""`ravine diagnose`."""

import json as json_format
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ravine.cli.display import watching
from ravine.cli.finding_lines import show_findings
from ravine.cli.options import AllowCode, Json, MovedData, Quiet
from ravine.findings.cure_trials import Trial
from ravine.findings.finding import Findings
from ravine.runs.rows import plain
from ravine.workflows.diagnose import diagnose_run, keep_trials, try_cures


def diagnose(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    *,
    data: MovedData = None,
    try_: Annotated[
        bool, typer.Option("--try", help="Train with and without each cure, and compare.")
    ] = False,
    steps: Annotated[int, typer.Option(help="Steps of a trial.")] = 200,
    seeds: Annotated[int, typer.Option(help="Seeds of a trial.")] = 5,
    labels_probe: Annotated[
        bool, typer.Option("--labels-probe", help="Ask whether labels belong to the images.")
    ] = False,
    rows_only: Annotated[
        bool, typer.Option("--rows-only", help="Read the rows and build no network.")
    ] = False,
    allow_code: AllowCode = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Find what is wrong with a run, since which step, why, and whether the cure works.

    Examples:

    - `ravine diagnose runs/photos-1`

    - `ravine diagnose runs/photos-1 --try --steps 200 --seeds 5`

    - `ravine diagnose runs/photos-1 --allow-code mynets:small`
    """
    with watching(quiet=quiet, json=json) as screen:
        found = diagnose_run(
            run,
            data=data,
            look_inside=not rows_only,
            labels_probe=labels_probe,
            allow_code=allow_code or (),
            progress=screen.progress,
        )
    show_findings(found, json=json)
    if try_:
        with watching(quiet=quiet, json=json) as screen:
            progress, code = screen.progress, allow_code or ()
            trials = try_cures(
                run, found, data=data, steps=steps, seeds=seeds, allow_code=code, progress=progress
            )
            _show_trials(run, found, trials, json=json)


def _show_trials(run: Path, found: Findings, trials: Iterable[Trial], *, json: bool) -> None:
    """Prints the comparison of each cure with its control, and keeps them in the run."""
    curable = [one for one in found if one.changes and one.severity != "note"]
    console = Console()
    tried: dict[str, Trial] = {}
    for one, trial in zip(curable, trials, strict=False):
        tried[one.code] = trial
        if json:
            print(json_format.dumps(plain({**trial.row(), "code": one.code})))
        else:
            console.print(str(trial), highlight=False, markup=False, soft_wrap=True)
    if not tried and not json:
        console.print("no finding has a cure that is a setting; nothing to try")
    keep_trials(run, found, tried)
