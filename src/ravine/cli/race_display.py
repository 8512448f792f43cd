"""What `ravine race` shows while it works, and at its end."""

import json as json_format
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from rich.console import Console
from rich.progress import Progress

from ravine.cli.display import watching
from ravine.core.events import Event
from ravine.core.lazy import lazy_module
from ravine.runs.rows import plain
from ravine.workflows.screens import Screen, duration, progress_bar, share

if TYPE_CHECKING:
    from ravine.workflows.race import Race
    from ravine.workflows.race_worker import controller
else:
    controller = lazy_module("ravine.workflows.race_worker.controller")

_LINE_EVERY = 10.0  # seconds


@contextmanager
def race_display(*, quiet: bool, json: bool) -> Iterator[tuple[Screen, "controller.RaceObserver"]]:
    """Gives the screen that fits, with a line for the race and one for each of its jobs."""
    if quiet or json or not sys.stderr.isatty():
        with watching(quiet=quiet, json=json) as screen:
            yield screen, _Lines(screen, plain_text=not (quiet or json), json=json)
        return
    console = Console(stderr=True, highlight=False)
    with (
        watching(quiet=True, json=False) as screen,
        progress_bar(console, text="{task.description}") as bar,
    ):
        yield screen, _Bars(bar, console)


@final
class _Lines:
    """A line every ten seconds, for files and pipes."""

    def __init__(self, screen: Screen, *, plain_text: bool, json: bool) -> None:
        self._screen, self._plain, self._json = screen, plain_text, json
        self._at = time.monotonic()

    def __call__(self, event: "Event | controller.RaceProgress") -> None:
        if not isinstance(event, controller.RaceProgress):
            self._screen.observe(event)
            return
        if time.monotonic() - self._at < _LINE_EVERY or not (self._plain or self._json):
            return
        self._at = time.monotonic()
        if self._json:
            counts = {"done": event.done, "known": event.known, "elapsed": event.elapsed}
            print(json_format.dumps(plain({"kind": "race", **counts})), flush=True)
            return
        running = ", ".join(_job_facts(key, *at) for key, at in event.running.items())
        print(f"{_race_facts(event)}  {running}", flush=True)


@final
class _Bars:
    """A bar for the race and one for each running job."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self._bar, self._console = bar, console
        self._whole = bar.add_task("[bold]race", total=None, facts="measuring a step")
        self._jobs: dict[str, Any] = {}

    def __call__(self, event: "Event | controller.RaceProgress") -> None:
        if not isinstance(event, controller.RaceProgress):
            self._console.print(getattr(event, "text", ""), markup=False)
            return
        total = event.budget or event.known
        done = event.elapsed if event.budget else event.done
        self._bar.update(self._whole, total=total, completed=done, facts=_race_facts(event))
        for key in [key for key in self._jobs if key not in event.running]:
            self._bar.remove_task(self._jobs.pop(key))
        for key, (step, steps) in event.running.items():
            self._move(key, step, steps)

    def _move(self, key: str, step: int, steps: int) -> None:
        if key not in self._jobs:
            self._jobs[key] = self._bar.add_task(key.partition("@")[0], facts="")
        facts = f"{step:,} of {steps:,} steps" if steps else "starting"
        self._bar.update(self._jobs[key], total=steps or None, completed=step, facts=facts)


def _race_facts(event: "controller.RaceProgress") -> str:
    of = f" of {duration(event.budget)}" if event.budget else ""
    return f"{event.done} of {event.known} jobs, {duration(event.elapsed)}{of or ' so far'}"


def _job_facts(key: str, step: int, steps: int) -> str:
    return f"{key.partition('@')[0]} {step}/{steps}" if steps else key.partition("@")[0]


def show_race(race: "Race", *, json: bool) -> None:
    """Prints the table, the verdict and the paths of a finished race, or one JSON object."""
    if json:
        result = {"verdict": race.verdict, "race": str(race.path), "table": race.table}
        print(json_format.dumps(plain({"kind": "result", **result}), ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in race.table)
    for row in race.table:
        print(_table_line(row, width, race.results.get("target")))
    print(race.verdict)
    if race.winner is not None:
        print(f"recipe {race.winner}")
    print(f"report {race.report}")


def _table_line(row: dict[str, Any], width: int, target: dict[str, Any] | None) -> str:
    if not row["results"]:
        return f"  –  {row['name']:{width}}  no run on a fresh seed ended"
    low, high = row["interval"]
    interval = (low, high) if low is not None and high is not None else None
    reached = row["seconds_to_target"]
    goal = f"{share(target['accuracy'])} " if target else "no target "
    when = goal + (f"in {duration(reached)}" if reached is not None else "never reached")
    tied = f"  tied with {', '.join(row['tied'])}" if row["tied"] else ""
    accuracy = share(row["mean"], interval)
    return f"{row['rank']:3}  {row['name']:{width}}  {accuracy}  {when}{tied}"
