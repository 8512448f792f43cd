"""The controller of a race: starts jobs when slots are free, watches the clock, keeps the state.

The job graph says which jobs are ready, the job pool does them; the controller decides when they
start, and when no more do.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from ravine.core.events import Event, Notice
from ravine.ops.kernel_plan import KernelPlan
from ravine.runs.rows import read_json, write_json
from ravine.tournament.job_graph import Job, JobGraph, Outcome
from ravine.training.stop import StopRequest
from ravine.workflows.race_plan import RacePlan, RaceSpec, make_plan
from ravine.workflows.race_worker.job_pool import JobPool
from ravine.workflows.race_worker.messages import read_outcome, read_timing
from ravine.workflows.race_worker.race_folder import RaceFolder, RaceState
from ravine.workflows.race_worker.slots import JobSlots
from ravine.workflows.race_worker.timing import CLOSING_SECONDS, Timing

_ITERATION = 0.25  # seconds between two checks of the clock
_SAVE_EVERY = 2.0  # seconds between two writes of state.json
_SEED_OVERHEAD = 2.0  # seconds around a run on a fresh seed
_SEED_MARGIN = 1.1  # runs on fresh seeds may take so much longer than the trial did


class RaceInterrupted(Exception):
    """The race was asked to stop; finished jobs are kept."""

    def __init__(self, signal_number: int, path: Path) -> None:
        super().__init__(f"race stopped; go on with it: ravine race --out {path}")
        self.signal_number = signal_number
        self.path = path


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RaceProgress:
    """How far a race is.

    Attributes:
        done: jobs that are done.
        known: jobs that are known by now; early stopping and failures decide how many follow.
        running: steps done and total steps of the run, by job.
        elapsed: seconds since the race began, all its processes together.
        budget: seconds, None without one.
    """

    done: int
    known: int
    running: Mapping[str, tuple[int, int]]
    elapsed: float
    budget: float | None


RaceObserver = Callable[[Event | RaceProgress], None]


def ignore_events(event: Event | RaceProgress) -> None:
    """Ignores an event: the observer of a race without a display."""


@final
@dataclass(slots=True, kw_only=True)
class Controller:
    """Starts jobs when slots are free, watches the clock, and keeps state.json.

    Attributes:
        spec: what decides the race.
        folder: of the race.
        pool: does the jobs.
        slots: of this machine.
        observe: gets notices and the progress of the race.
        stop: a signal that asks the race to stop.
        decide_kernels: measures the convolutions of all candidates, once.
    """

    spec: RaceSpec
    folder: RaceFolder
    pool: JobPool
    slots: JobSlots
    observe: RaceObserver
    stop: StopRequest
    decide_kernels: Callable[[], KernelPlan]
    state: RaceState = field(init=False)
    _began: float = field(default_factory=time.monotonic)
    _before: float = field(init=False)
    _started: dict[str, float] = field(default_factory=dict)
    _saved: float = 0.0

    def __post_init__(self) -> None:
        self.state = RaceState.read(self.folder.state)
        self._before = self.state.elapsed

    def elapsed(self) -> float:
        """Returns the seconds of the race so far."""
        return self._before + time.monotonic() - self._began

    def save(self) -> None:
        """Writes state.json."""
        self.state.elapsed = self.elapsed()
        self.state.write(self.folder.state)

    def plan(self) -> RacePlan:
        """Returns the plan: made once, from measured durations, and read from plan.json later."""
        if self.folder.plan.is_file():
            plan = RacePlan.from_values(read_json(self.folder.plan))
            self.pool.use_kernels(plan.kernels)
            return plan
        kernels = self.decide_kernels()
        self.pool.use_kernels(kernels)
        timings = {name: self._measure(settings) for name, settings in self.spec.groups().items()}
        plan = make_plan(self.spec, timings, self.slots, elapsed=self.elapsed(), kernels=kernels)
        write_json(self.folder.plan, plan.to_values())
        for text in plan.describe():
            self.observe(Notice(text=text))
        return plan

    def _measure(self, settings: Mapping[str, Any]) -> list[Timing]:
        """Returns the durations of a recipe, measured in as many processes as there will be."""
        with_steps = self.spec.race.budget is not None
        # Simultaneous jobs slow each other down, so that as many are measured at a time.
        copies = self.pool.slots if with_steps else 1
        keys = [f"measure-{copy}" for copy in range(copies)]
        for key in keys:
            self.folder.result(key).unlink(missing_ok=True)
            own = {**settings, "threads": self.slots.threads}
            self.pool.measure(key, own, with_steps=with_steps)
        self._await(keys)
        return [read_timing(self.folder.result(key)) for key in keys]

    def _await(self, keys: Sequence[str]) -> None:
        left = set(keys)
        while left:
            left -= set(self.pool.finished(_ITERATION))
            self._check_signals()

    def run(self, plan: RacePlan) -> None:
        """Does all jobs, or as many as the budget allows.

        Raises:
            RaceInterrupted: a signal asked for it.
        """
        outcomes = self.folder.read_outcomes()
        running: dict[str, Job] = {}
        while True:
            self._start(plan, outcomes, running)
            if not running:
                break
            for key in self.pool.finished(_ITERATION):
                self._finish(running.pop(key), outcomes)
            self._report(plan.graph, outcomes)
            self._check_signals()
            if self._seconds_left() < 0:
                self._close("the budget ended before all jobs did")
                break

    def _start(
        self, plan: RacePlan, outcomes: Mapping[str, Outcome], running: dict[str, Job]
    ) -> None:
        """Starts ready jobs until all slots are taken."""
        if self.state.closed or len(running) >= self.pool.slots:
            return
        for job in plan.graph.ready(outcomes):
            if job.key in running:
                continue
            if not self._fits(job, plan, outcomes):
                self._close(f"the budget allowed no run on fresh seed {job.settings['seed']}")
                return
            self.pool.start(job)
            running[job.key] = job
            self._started[job.key] = time.monotonic()
            self.state.starts[job.key] = self.state.starts.get(job.key, 0) + 1
            if len(running) >= self.pool.slots:
                return

    def _fits(self, job: Job, plan: RacePlan, outcomes: Mapping[str, Outcome]) -> bool:
        """Returns whether a run on a fresh seed will end in time; trials always begin."""
        candidate = plan.candidate_of_seed_run(job.run)
        if candidate is None or self.spec.race.budget is None:
            return True
        trial = plan.graph.best_trial(candidate, outcomes)
        assert trial is not None
        seconds = outcomes[plan.graph.last_trial_job(candidate, trial).key].seconds
        overhead = plan.timings[candidate].around + _SEED_OVERHEAD
        return self._seconds_left() > seconds * _SEED_MARGIN + overhead

    def _seconds_left(self) -> float:
        budget = self.spec.race.budget
        return float("inf") if budget is None else budget - self.elapsed() - CLOSING_SECONDS

    def _finish(self, job: Job, outcomes: dict[str, Outcome]) -> None:
        """Adds the outcome of a job; one without an outcome was interrupted and is ready again."""
        path = self.folder.result(job.key)
        if not path.is_file():
            return
        outcome = outcomes[job.key] = read_outcome(path)
        self.state.held += time.monotonic() - self._started[job.key]
        self.state.worked += outcome.wall
        self.save()
        if not outcome.sound:
            text = f"{job.run} is out ({outcome.status}) at step {outcome.step}: {outcome.text}"
            self.observe(Notice(text=text, warning=True))

    def _close(self, reason: str) -> None:
        """Starts no further job."""
        if not self.state.closed:
            self.state.closed = reason
            self.save()
            self.observe(Notice(text=reason, warning=True))

    def _report(self, graph: JobGraph, outcomes: Mapping[str, Outcome]) -> None:
        known = set(outcomes) | {job.key for job in graph.ready(outcomes)}
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self._saved = time.monotonic()
            self.save()
        self.observe(
            RaceProgress(
                done=len(outcomes),
                known=len(known),
                running=self.pool.steps(),
                elapsed=self.elapsed(),
                budget=self.spec.race.budget,
            )
        )

    def _check_signals(self) -> None:
        if self.stop.signal_number is not None:
            raise RaceInterrupted(self.stop.signal_number, self.folder.path)
