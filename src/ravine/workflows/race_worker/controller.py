"""Who leads a race: starts jobs when slots are free, watches the clock, writes what happens.

The order of jobs is `course`'s, the doing of them `Workers`'; here is when, and when no more.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from ravine.core.events import Event, Notice
from ravine.runs.rows import read_json, write_json
from ravine.tournament.job_graph import Course, Job, Outcome
from ravine.training.stop import StopRequest
from ravine.workflows.race_plan import Entry, RacePlan, make_plan
from ravine.workflows.race_worker.local_jobs import Places, Workers, read_outcomes
from ravine.workflows.race_worker.slots import Share

_TURN = 0.25  # seconds between two looks at the clock
_CLOSING = 4.0  # seconds that tables and page take
_AROUND = 2.0  # seconds around a run on a fresh seed
_SPARE = 1.1  # runs on fresh seeds may take so much longer than the trial did


class RaceInterrupted(Exception):
    """The race was asked to stop; what is done is kept."""

    def __init__(self, signal_number: int, path: Path) -> None:
        super().__init__(f"race stopped; go on with it: ravine race --out {path}")
        self.signal_number = signal_number
        self.path = path


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RaceMoved:
    """How far a race is.

    Attributes:
        done: jobs that are done.
        known: jobs that are known by now; early stopping and failures decide how many follow.
        running: steps done and steps of the run, by job.
        elapsed: seconds since the race began, all its processes together.
        budget: seconds, None without one.
    """

    done: int
    known: int
    running: Mapping[str, tuple[int, int]]
    elapsed: float
    budget: float | None


Watch = Callable[[Event | RaceMoved], None]


def watch_nothing(event: Event | RaceMoved) -> None:
    """Looks away."""


@final
@dataclass(slots=True, kw_only=True)
class Steward:
    """Starts jobs when slots are free, watches the clock, and writes down what happens."""

    entry: Entry
    places: Places
    workers: Workers
    share: Share
    watch: Watch
    stop: StopRequest
    state: dict[str, Any] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _before: float = 0.0
    _since: dict[str, float] = field(default_factory=dict)
    _saved: float = 0.0

    def __post_init__(self) -> None:
        file = self.places.race / "state.json"
        empty: dict[str, Any] = {
            "elapsed": 0.0,
            "closed": None,
            "starts": {},
            "held": 0.0,
            "worked": 0.0,
        }
        self.state = read_json(file) if file.is_file() else empty
        self._before = float(self.state["elapsed"])

    def elapsed(self) -> float:
        """Returns the seconds of the race so far."""
        return self._before + time.monotonic() - self._began

    def save(self) -> None:
        """Writes down how far the race is."""
        self.state["elapsed"] = self.elapsed()
        write_json(self.places.race / "state.json", self.state)

    def plan(self) -> RacePlan:
        """Returns the plan; it is made once, from measured steps, and read back afterwards."""
        file = self.places.plan
        if file.is_file():
            return RacePlan.from_values(read_json(file))
        groups = self.entry.groups()
        timed = self.entry.race.budget is not None
        copies = self.workers.slots if timed else 1
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in groups}
        for name, settings in groups.items():
            # As many side by side as there will be jobs, since they slow each other down.
            keys = [f"measure-{copy}" for copy in range(copies)]
            for key in keys:
                self.places.outcome(key).unlink(missing_ok=True)
                self.workers.measure(key, settings | {"threads": self.share.threads}, seconds=timed)
            self._await(keys)
            found[name] = [read_json(self.places.outcome(key)) for key in keys]
        plan = make_plan(self.entry, found, self.share, elapsed=self.elapsed())
        write_json(file, plan.to_values())
        for text in plan.told():
            self.watch(Notice(text=text))
        return plan

    def _await(self, keys: Sequence[str]) -> None:
        left = set(keys)
        while left:
            left -= set(self.workers.finished(_TURN))
            self._check_signals()

    def run(self, plan: RacePlan) -> None:
        """Does all jobs, or as many as the budget allows."""
        course = plan.course
        outcomes = read_outcomes(self.places)
        running: dict[str, Job] = {}
        while True:
            self._start(course, plan, outcomes, running)
            if not running:
                break
            for key in self.workers.finished(_TURN):
                self._take(key, running.pop(key), outcomes)
            self._tell(course, outcomes)
            self._check_signals()
            if self._left() < 0:
                self._close("the budget ended before all jobs did")
                break

    def _start(
        self,
        course: Course,
        plan: RacePlan,
        outcomes: Mapping[str, Outcome],
        running: dict[str, Job],
    ) -> None:
        if self.state["closed"] or len(running) >= self.workers.slots:
            return
        for job in course.ready(outcomes):
            if job.key in running:
                continue
            if not self._fits(job, course, plan, outcomes):
                self._close(f"the budget allowed no run on fresh seed {job.settings['seed']}")
                return
            self.workers.start(job)
            running[job.key] = job
            self._since[job.key] = time.monotonic()
            self.state["starts"][job.key] = self.state["starts"].get(job.key, 0) + 1
            if len(running) >= self.workers.slots:
                return

    def _fits(
        self, job: Job, course: Course, plan: RacePlan, outcomes: Mapping[str, Outcome]
    ) -> bool:
        """Returns whether a run on a fresh seed will end in time; trials always begin."""
        entrant = plan.final_of(job.run)
        if entrant is None or self.entry.race.budget is None:
            return True
        trial = course.best_trial(entrant, outcomes)
        assert trial is not None
        took = outcomes[f"{course.trial_run(entrant, trial)}@1"].seconds
        around = plan.paces[entrant].around + _AROUND
        return self._left() > took * _SPARE + around

    def _left(self) -> float:
        budget = self.entry.race.budget
        return float("inf") if budget is None else budget - self.elapsed() - _CLOSING

    def _take(self, key: str, job: Job, outcomes: dict[str, Outcome]) -> None:
        path = self.places.outcome(key)
        if not path.is_file():
            return  # interrupted from outside; it is ready again
        outcome = outcomes[key] = Outcome(**read_json(path))
        self.state["held"] += time.monotonic() - self._since[key]
        self.state["worked"] += outcome.wall
        self.save()
        if not outcome.sound:
            text = f"{job.run} is out ({outcome.status}) at step {outcome.step}: {outcome.text}"
            self.watch(Notice(text=text, warning=True))

    def _close(self, reason: str) -> None:
        if not self.state["closed"]:
            self.state["closed"] = reason
            self.save()
            self.watch(Notice(text=reason, warning=True))

    def _tell(self, course: Course, outcomes: Mapping[str, Outcome]) -> None:
        known = set(outcomes) | {job.key for job in course.ready(outcomes)}
        if time.monotonic() - self._saved > 2.0:
            self._saved = time.monotonic()
            self.save()
        self.watch(
            RaceMoved(
                done=len(outcomes),
                known=len(known),
                running=self.workers.steps(),
                elapsed=self.elapsed(),
                budget=self.entry.race.budget,
            )
        )

    def _check_signals(self) -> None:
        if self.stop.signal_number is not None:
            raise RaceInterrupted(self.stop.signal_number, self.places.race)
