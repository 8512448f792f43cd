"""`ravine diagnose`."""

import json as json_format
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ravine.cli.checked_lines import checked_lines
from ravine.cli.display import watching
from ravine.cli.finding_lines import show_findings
from ravine.cli.options import AllowCode, Json, MovedData, Quiet
from ravine.cli.run_argument import RunArgument, existing_run
from ravine.core.lazy import lazy_module
from ravine.findings.finding import Findings
from ravine.runs.folder import RunFolder
from ravine.runs.rows import plain
from ravine.runs.verdict import diagnosing

if TYPE_CHECKING:
    from ravine.findings.cure_trials import Trial
    from ravine.workflows import diagnose as workflow
    from ravine.workflows import run_record
else:
    run_record = lazy_module("ravine.workflows.run_record")
    workflow = lazy_module("ravine.workflows.diagnose", for_good=True)


def diagnose(
    run: RunArgument = None,
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
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name every kind of finding that was checked.")
    ] = False,
    allow_code: AllowCode = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Find what is wrong with a run, since which step, why, and whether the cure works.

    Examples:

    - `ravine diagnose`, the newest run

    - `ravine diagnose runs/photos-1 --try --steps 200 --seeds 5`

    - `ravine diagnose runs/photos-1 --allow-code mynets:small`
    """
    run = existing_run(run)
    began = time.monotonic()
    with watching(quiet=quiet, json=json) as screen:
        found = workflow.diagnose_run(
            run,
            data=data,
            look_inside=not rows_only,
            labels_probe=labels_probe,
            allow_code=allow_code or (),
            progress=screen.progress,
        )
    show_findings(found, json=json)
    if not (json or quiet):
        reach = {"inside": not rows_only, "labels_probe": labels_probe, "verbose": verbose}
        _show_reach(run, found, time.monotonic() - began, reach)
    if try_:
        how = {"data": data, "steps": steps, "seeds": seeds, "allow_code": allow_code or ()}
        _try(run, found, how, quiet=quiet, json=json)


def _show_reach(run: Path, found: Findings, seconds: float, reach: Mapping[str, bool]) -> None:
    """Prints what was checked, and what to type next."""
    lines = checked_lines(found, seconds, **reach)
    print("\n".join([*lines, *_last_lines(run, found, labels_probe=reach["labels_probe"])]))


def _last_lines(run: Path, found: Findings, *, labels_probe: bool) -> list[str]:
    """Returns what to type next, and what nothing that was found explains."""
    verdict = run_record.verdict_of(RunFolder(run))
    if verdict.command != diagnosing(run):
        return [f"next   {verdict.command}"]
    if verdict.kind != "chance" or found.of("critical") or found.of("warning"):
        return []
    lines = [f"{verdict.headline}, and nothing that was found explains it: train for longer"]
    return lines if labels_probe else [*lines, f"next   {verdict.command} --labels-probe"]


def _try(run: Path, found: Findings, how: Mapping[str, Any], *, quiet: bool, json: bool) -> None:
    """Trains with and without each cure, and prints the comparisons."""
    with watching(quiet=quiet, json=json) as screen:
        trials = workflow.try_cures(run, found, **how, progress=screen.progress)
        _show_trials(run, found, trials, json=json)


def _show_trials(run: Path, found: Findings, trials: "Iterable[Trial]", *, json: bool) -> None:
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
    workflow.keep_trials(run, found, tried)
