"""`ravine race`."""

import json as json_format
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ravine.cli.display import Screen, duration, share, watching
from ravine.cli.options import AllowCode, Json, Quiet, given, setting_options
from ravine.cli.race_function import race_function
from ravine.core.errors import SettingError
from ravine.core.events import Event
from ravine.runs.rows import plain
from ravine.workflows.race import Race
from ravine.workflows.race import race as run_race
from ravine.workflows.race_settings import axes_of
from ravine.workflows.race_worker.controller import RaceInterrupted, RaceMoved, Watch

_LINE_EVERY = 10.0
_FUNCTION_ONLY = ("steps", "start", "domain", "starts", "tune", "mp4")
_OF_THE_RACE = ("seed", "epochs", "budget")


@setting_options
def race(
    data: Annotated[
        str | None,
        typer.Argument(help="Labelled images, as for ravine train, or @fashion (the sample)."),
    ] = None,
    *,
    optimizers: Annotated[str, typer.Option(help="Names to race, by commas.")] = "",
    vary: Annotated[
        list[str] | None, typer.Option(metavar="KEY=A,B", help="Any setting, with its values.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of each entrant. [6]")] = None,
    seeds: Annotated[int, typer.Option(help="Fresh seeds for the best of each.")] = 3,
    equal: Annotated[str, typer.Option(help="What all have as much of: epochs or seconds.")] = (
        "epochs"
    ),
    target: Annotated[
        float | None, typer.Option(help="Validation accuracy of which the time is taken.")
    ] = None,
    early: Annotated[bool, typer.Option(help="Stop hopeless trials early.")] = True,
    jobs: Annotated[int, typer.Option(help="Jobs at a time; 0: as many as fit.")] = 0,
    memory: Annotated[str | None, typer.Option(help="Most memory of a job: 4G.")] = None,
    limit: Annotated[str | None, typer.Option(help="Most time of a job: 10min.")] = None,
    ray: Annotated[str | None, typer.Option(help="A Ray cluster: HOST:PORT, or auto.")] = None,
    plane: Annotated[
        bool, typer.Option(help="Draw all on one plane of the network (up to 20 s more).")
    ] = False,
    out: Annotated[
        str | None, typer.Option(help="The folder; goes on with a race that lies there.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe that all share.")] = None,
    function: Annotated[
        str | None, typer.Option(help="Race on a test function instead: beale, valley, …")
    ] = None,
    steps: Annotated[int, typer.Option(help="With --function: steps of each.")] = 300,
    start: Annotated[str, typer.Option(help="With --function: x,y.")] = "",
    domain: Annotated[str, typer.Option(help="With --function: from:to,from:to.")] = "",
    starts: Annotated[int, typer.Option(help="With --function: starts of the table.")] = 200,
    tune: Annotated[str, typer.Option(help="With --function: lr, or lr,momentum,eps.")] = "lr",
    mp4: Annotated[bool, typer.Option(help="With --function: write an MP4 too.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by name.")
    ] = None,
    allow_code: AllowCode = None,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Race optimizers, or any setting, on your own images, or on a test function.

    Called again with the same --out, it goes on where it was stopped.

    Examples:

    - `ravine race photos/ --model wrn-16-2 --optimizers momentum,adam,nadam --budget 30min`

    - `ravine race @fashion --model swift-1 --vary init=xavier,he --budget 3min --out runs/init`

    - `ravine race --out runs/init`

    - `ravine race --out runs/nets --allow-code mynets:small --allow-code mynets:large`

    - `ravine race --function beale`
    """
    chosen = given(settings, set_ or [])
    if function is not None:
        _on_function(
            function,
            optimizers=optimizers,
            trials=trials,
            lr=str(chosen.get("lr", "")),
            seed=int(chosen.get("seed", 0)),
            out=out,
            more={"steps": steps, "start": start, "domain": domain, "starts": starts}
            | {"tune": tune, "mp4": mp4, "quiet": quiet, "json": json},
        )
        return
    rules = {name: chosen.pop(name) for name in _OF_THE_RACE if name in chosen}
    rules |= {"seeds": seeds, "equal": equal, "target": target, "early": early}
    rules |= {"memory": memory, "limit": limit}
    if trials is not None:
        rules["trials"] = trials
    if data is None and recipe is None and out is None:
        raise SettingError("what to race on? Name images, or --function beale, or --out RACE")
    with _watching_race(quiet=quiet, json=json) as (screen, watch):
        try:
            done = run_race(
                data,
                vary=axes_of(optimizers, vary or []),
                out=out,
                recipe=recipe,
                allow_code=allow_code or (),
                jobs=jobs,
                ray=ray,
                plane=plane,
                rules={k: v for k, v in rules.items() if v is not None},
                watch=watch,
                progress=screen.progress,
                **chosen,
            )
        except RaceInterrupted as stopped:
            print(f"ravine: {stopped}", file=sys.stderr)
            raise typer.Exit(128 + stopped.signal_number) from None
    _show(done, json=json)


def _on_function(
    function: str,
    *,
    optimizers: str,
    trials: int | None,
    lr: str,
    seed: int,
    out: str | None,
    more: dict[str, Any],
) -> None:
    if optimizers:
        more["optimizers"] = optimizers
    if trials is not None:
        more["trials"] = trials
    if out is not None:
        more["out"] = Path(out)
    race_function(function, lr=lr, seed=seed, **more)


@contextmanager
def _watching_race(*, quiet: bool, json: bool) -> Iterator[tuple[Screen, Watch]]:
    """Gives the screen that fits, with a line for the race and one for each of its jobs."""
    if quiet or json or not sys.stderr.isatty():
        with watching(quiet=quiet, json=json) as screen:
            lines = _Lines(screen, plain_text=not (quiet or json), json=json)
            yield screen, lines
        return
    console = Console(stderr=True, highlight=False)
    with (
        watching(quiet=True, json=False) as screen,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[facts]}"),
            console=console,
            transient=True,
        ) as bar,
    ):
        yield screen, _Bars(bar, console)


class _Lines:
    """Lines every ten seconds, for files and pipes."""

    def __init__(self, screen: Screen, *, plain_text: bool, json: bool) -> None:
        self._screen, self._plain, self._json = screen, plain_text, json
        self._at = time.monotonic()

    def __call__(self, event: Event | RaceMoved) -> None:
        if not isinstance(event, RaceMoved):
            self._screen.observe(event)
            return
        if time.monotonic() - self._at < _LINE_EVERY or not (self._plain or self._json):
            return
        self._at = time.monotonic()
        if self._json:
            row = {
                "kind": "race",
                "done": event.done,
                "known": event.known,
                "elapsed": event.elapsed,
            }
            print(json_format.dumps(plain(row)), flush=True)
            return
        running = ", ".join(_job_facts(key, *at) for key, at in event.running.items())
        print(f"{_race_facts(event)}  {running}", flush=True)


class _Bars:
    """A bar for the race and one for each job that runs."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self._bar, self._console = bar, console
        self._whole = bar.add_task("[bold]race", total=None, facts="measuring a step")
        self._jobs: dict[str, Any] = {}

    def __call__(self, event: Event | RaceMoved) -> None:
        if not isinstance(event, RaceMoved):
            text = getattr(event, "text", "")
            self._console.print(text, markup=False)
            return
        total = event.budget or event.known
        done = event.elapsed if event.budget else event.done
        self._bar.update(self._whole, total=total, completed=done, facts=_race_facts(event))
        for key in [key for key in self._jobs if key not in event.running]:
            self._bar.remove_task(self._jobs.pop(key))
        for key, (step, steps) in event.running.items():
            if key not in self._jobs:
                self._jobs[key] = self._bar.add_task(key.partition("@")[0], facts="")
            facts = f"{step:,} of {steps:,} steps" if steps else "starting"
            self._bar.update(self._jobs[key], total=steps or None, completed=step, facts=facts)


def _race_facts(event: RaceMoved) -> str:
    of = f" of {duration(event.budget)}" if event.budget else ""
    return f"{event.done} of {event.known} jobs known, {duration(event.elapsed)}{of}"


def _job_facts(key: str, step: int, steps: int) -> str:
    return f"{key.partition('@')[0]} {step}/{steps}" if steps else key.partition("@")[0]


def _show(done: Race, *, json: bool) -> None:
    if json:
        result = {
            "kind": "result",
            "verdict": done.verdict,
            "race": str(done.path),
            "table": done.table,
        }
        print(json_format.dumps(plain(result), ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in done.table)
    for row in done.table:
        if not row["results"]:
            print(f"  –  {row['name']:{width}}  no run on a fresh seed ended")
            continue
        low, high = row["interval"]
        interval = (low, high) if low is not None and high is not None else None
        reached = row["seconds_to_target"]
        when = f"target in {duration(reached)}" if reached is not None else "target never reached"
        tied = f"  tied with {', '.join(row['tied'])}" if row["tied"] else ""
        print(
            f"{row['rank']:3}  {row['name']:{width}}  {share(row['mean'], interval)}  {when}{tied}"
        )
    print(done.verdict)
    if done.winner is not None:
        print(f"recipe {done.winner}")
    print(f"report {done.report}")
