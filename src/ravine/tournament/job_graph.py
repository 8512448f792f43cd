"""The job graph of a race: which jobs are ready, as a pure function of the outcomes so far.

    search       every trial of every candidate up to the first rung, the survivors to the next, …
    fresh seeds  the best trial of each candidate on new seeds, the same for all

A job is one run folder trained up to a share of its steps. Whatever interrupted a race, the missing
jobs follow from the outcomes on disk; nothing else is kept.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

from ravine.tournament.rungs import rungs, survivors

Status = Literal["paused", "ended", "diverged", "memory", "time", "failed"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of training: a run folder, brought up to `share` of its steps.

    Attributes:
        run: name of the run folder.
        share: of its steps, in (0, 1].
        settings: of the recipe, all that differ from the defaults.
    """

    run: str
    share: float
    settings: Mapping[str, Any] = field(hash=False)

    @property
    def key(self) -> str:
        """The name of the job and its outcome, such as `adam-trial-0@0.25`."""
        return f"{self.run}@{self.share:g}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a job.

    Attributes:
        status: paused at a rung, ended, or the reason of its failure.
        text: one line about a failure.
        step: steps done.
        total_steps: of the whole run.
        loss: mean training loss over the last fifth of the steps so far.
        accuracy: on the validation images, at the end.
        validation_loss: on the validation images, at the end.
        final: accuracy on the images of the final evaluation.
        count: images of the final evaluation.
        seconds: of training and evaluation, all jobs of this run together.
        wall: seconds of this job from start to end, opening the data included.
    """

    status: Status
    text: str = ""
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    accuracy: float | None = None
    validation_loss: float | None = None
    final: float | None = None
    count: int = 0
    seconds: float = 0.0
    wall: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether the run can go on or has ended."""
        return self.status in ("paused", "ended")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class JobGraph:
    """The settings of every trial of each candidate, and the fresh seeds."""

    trials: Mapping[str, Sequence[Mapping[str, Any]]]
    seeds: Sequence[int]
    early: bool
    folders: Mapping[str, str]
    """The prefix of its run folders, of each candidate."""

    in_finals: Mapping[str, Any]
    """Settings that differ on the fresh seeds, such as keep_weights."""

    def trial_run(self, candidate: str, trial: int) -> str:
        """Returns the run folder of a trial."""
        return f"{self.folders[candidate]}-trial-{trial}"

    def seed_run(self, candidate: str, seed: int) -> str:
        """Returns the run folder of the best trial on a fresh seed."""
        return f"{self.folders[candidate]}-seed-{seed}"

    def ready(self, outcomes: Mapping[str, Outcome]) -> list[Job]:
        """Returns the jobs that can be run now and have no outcome yet, the most urgent first."""
        found: list[Job] = []
        on_seeds: list[Job] = []
        for candidate in self.trials:
            jobs = self.search_jobs(candidate, outcomes)
            open_ = [job for job in jobs if job.key not in outcomes]
            found += open_
            if not open_:
                on_seeds += self._seed_jobs(candidate, outcomes)
        found.sort(key=lambda job: -job.share)  # runs that are nearly done go first
        on_seeds.sort(key=lambda job: job.settings["seed"])
        return [*found, *(job for job in on_seeds if job.key not in outcomes)]

    def search_jobs(self, candidate: str, outcomes: Mapping[str, Outcome]) -> list[Job]:
        """Returns the jobs of the search that are known so far, done or not."""
        alive = list(range(len(self.trials[candidate])))
        jobs: list[Job] = []
        steps = [(r.share, r.keep) for r in rungs(len(alive), early=self.early)]
        shares = [*(share for share, _ in steps), 1.0]
        failed = {t for t in alive if self._has_failed(candidate, t, shares, outcomes)}
        for share, keep in [*steps, (1.0, 0)]:
            here = [self._trial_job(candidate, trial, share) for trial in alive]
            jobs += here
            if share == 1.0 or any(job.key not in outcomes for job in here):
                break
            results = {t: outcomes[job.key] for t, job in zip(alive, here, strict=True)}
            # A trial that fails at a later rung is replaced by the next best.
            sound = {t: o.loss for t, o in results.items() if o.sound and t not in failed}
            alive = survivors(sound, keep)
        return jobs

    def _has_failed(
        self, candidate: str, trial: int, shares: Sequence[float], outcomes: Mapping[str, Outcome]
    ) -> bool:
        known = (outcomes.get(self._trial_job(candidate, trial, share).key) for share in shares)
        return any(outcome is not None and not outcome.sound for outcome in known)

    def best_trial(self, candidate: str, outcomes: Mapping[str, Outcome]) -> int | None:
        """Returns the trial with the best validation accuracy at its end, None if none ended.

        Of equal ones the one with the lower validation loss, then the first. Without validation
        images, the one with the least training loss.
        """
        ended: dict[int, Outcome] = {}
        for trial in range(len(self.trials[candidate])):
            outcome = outcomes.get(self.last_trial_job(candidate, trial).key)
            if outcome is not None and outcome.status == "ended":
                ended[trial] = outcome
        if not ended:
            return None

        def order(trial: int) -> tuple[float, float, float, int]:
            one = ended[trial]
            return (
                -(one.accuracy or 0.0),
                _or_infinite(one.validation_loss),
                _or_infinite(one.loss),
                trial,
            )

        return min(ended, key=order)

    def last_trial_job(self, candidate: str, trial: int) -> Job:
        """Returns the job that trains a trial to its end."""
        return self._trial_job(candidate, trial, 1.0)

    def outcomes_of_trial(
        self, candidate: str, trial: int, outcomes: Mapping[str, Outcome]
    ) -> list[Outcome]:
        """Returns the outcomes of a trial at all rungs that it has reached."""
        run = self.trial_run(candidate, trial)
        return [outcome for key, outcome in outcomes.items() if run_of(key) == run]

    def outcomes_on_seeds(
        self, candidate: str, outcomes: Mapping[str, Outcome]
    ) -> dict[int, Outcome]:
        """Returns the outcomes of a candidate on fresh seeds, by seed."""
        known = {seed: f"{self.seed_run(candidate, seed)}@1" for seed in self.seeds}
        return {seed: outcomes[key] for seed, key in known.items() if key in outcomes}

    def _trial_job(self, candidate: str, trial: int, share: float) -> Job:
        return Job(
            run=self.trial_run(candidate, trial),
            share=share,
            settings=self.trials[candidate][trial],
        )

    def _seed_jobs(self, candidate: str, outcomes: Mapping[str, Outcome]) -> list[Job]:
        best = self.best_trial(candidate, outcomes)
        if best is None:
            return []
        settings = {**self.trials[candidate][best], **self.in_finals}
        return [
            Job(run=self.seed_run(candidate, s), share=1.0, settings={**settings, "seed": s})
            for s in self.seeds
        ]


def run_of(key: str) -> str:
    """Returns the run folder of a job, from its key.

    >>> run_of("adam-trial-0@0.25")
    'adam-trial-0'
    """
    return key.rpartition("@")[0]


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value
