"""The course of a race: which jobs are to be done next, as a pure function of what is done.

    search   every trial of every entrant up to the first rung, the survivors to the next, …
    finals   the best trial of each entrant on fresh seeds, the same for all

A job is one run folder trained up to a share of its steps. Whatever interrupted a race, what is
missing follows from the outcomes that lie on disk; nothing else is kept.
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
        share: how far, in (0, 1].
        settings: of the recipe, all that differ from the defaults.
    """

    run: str
    share: float
    settings: Mapping[str, Any] = field(hash=False)

    @property
    def key(self) -> str:
        """Names the job and its outcome."""
        return f"{self.run}@{self.share:g}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a job.

    Attributes:
        status: paused at a rung, ended, or why not.
        text: one line about what went wrong.
        step: steps done.
        total_steps: of the whole run.
        loss: mean training loss over the last fifth of the steps so far.
        accuracy: on the validation images, at the end.
        validation_loss: the same.
        final: accuracy on the images of the final evaluation.
        count: how many those are.
        seconds: of training and evaluation, all jobs of this run together.
        wall: of this job from start to end, with all that surrounds the training.
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
        """Whether the run can be gone on with or has ended."""
        return self.status in ("paused", "ended")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is to be run: of each entrant the settings of every trial, and the fresh seeds."""

    trials: Mapping[str, Sequence[Mapping[str, Any]]]
    seeds: Sequence[int]
    early: bool
    folders: Mapping[str, str]
    """A name for files, of each entrant."""

    in_finals: Mapping[str, Any]
    """Settings that are changed for the fresh seeds, such as keep_weights."""

    def trial_run(self, entrant: str, trial: int) -> str:
        """Returns the run folder of a trial."""
        return f"{self.folders[entrant]}-trial-{trial}"

    def seed_run(self, entrant: str, seed: int) -> str:
        """Returns the run folder of the best trial on a fresh seed."""
        return f"{self.folders[entrant]}-seed-{seed}"

    def ready(self, outcomes: Mapping[str, Outcome]) -> list[Job]:
        """Returns the jobs that can be run now and have no outcome yet, the most urgent first."""
        found: list[Job] = []
        finals: list[Job] = []
        for entrant in self.trials:
            jobs = self.search_jobs(entrant, outcomes)
            open_ = [job for job in jobs if job.key not in outcomes]
            found += open_
            if not open_:
                finals += self._final_jobs(entrant, outcomes)
        found.sort(key=lambda job: -job.share)  # what is nearly done goes first
        finals.sort(key=lambda job: job.settings["seed"])
        return [*found, *(job for job in finals if job.key not in outcomes)]

    def search_jobs(self, entrant: str, outcomes: Mapping[str, Outcome]) -> list[Job]:
        """Returns the jobs of the search that are known so far, done or not."""
        alive = list(range(len(self.trials[entrant])))
        jobs: list[Job] = []
        steps = [(r.share, r.keep) for r in rungs(len(alive), early=self.early)]
        shares = [*(share for share, _ in steps), 1.0]
        broken = {t for t in alive if self._is_broken(entrant, t, shares, outcomes)}
        for share, keep in [*steps, (1.0, 0)]:
            here = [self._trial_job(entrant, trial, share) for trial in alive]
            jobs += here
            if share == 1.0 or any(job.key not in outcomes for job in here):
                break
            results = {t: outcomes[job.key] for t, job in zip(alive, here, strict=True)}
            # Whoever breaks later gives his place to the next best.
            sound = {t: o.loss for t, o in results.items() if o.sound and t not in broken}
            alive = survivors(sound, keep)
        return jobs

    def _is_broken(
        self, entrant: str, trial: int, shares: Sequence[float], outcomes: Mapping[str, Outcome]
    ) -> bool:
        known = (outcomes.get(self._trial_job(entrant, trial, share).key) for share in shares)
        return any(outcome is not None and not outcome.sound for outcome in known)

    def best_trial(self, entrant: str, outcomes: Mapping[str, Outcome]) -> int | None:
        """Returns the trial with the best validation accuracy at its end, None if none ended.

        Of equal ones the one with the lower validation loss, then the first. Without validation
        images, the one with the least training loss.
        """
        ended: dict[int, Outcome] = {}
        for trial in range(len(self.trials[entrant])):
            outcome = outcomes.get(self._trial_job(entrant, trial, 1.0).key)
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

    def _trial_job(self, entrant: str, trial: int, share: float) -> Job:
        return Job(
            run=self.trial_run(entrant, trial),
            share=share,
            settings=self.trials[entrant][trial],
        )

    def _final_jobs(self, entrant: str, outcomes: Mapping[str, Outcome]) -> list[Job]:
        best = self.best_trial(entrant, outcomes)
        if best is None:
            return []
        settings = {**self.trials[entrant][best], **self.in_finals}
        return [
            Job(run=self.seed_run(entrant, s), share=1.0, settings={**settings, "seed": s})
            for s in self.seeds
        ]


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value
