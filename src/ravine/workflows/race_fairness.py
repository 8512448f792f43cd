"""The fairness of a race in sentences: what its candidates share, for the report."""

from ravine.core.counted import counted
from ravine.tournament.rungs import rungs
from ravine.tournament.trial_points import describe_space
from ravine.workflows.race_plan import RacePlan, RaceSpec


def fairness(spec: RaceSpec, plan: RacePlan, measure: str) -> list[str]:
    """Returns a sentence for each thing that all candidates share; `measure` is accuracy or mAP."""
    race = spec.race
    space = ", ".join(f"{k}: {v}" for k, v in describe_space(spec.fixed).items())
    sentences = [
        "The same initial weights, order of data and augmentation for all: functions of the seed.",
        f"The same number of trials ({race.trials}) at the same quasi-random points for all, the "
        f"first at the defaults; searched: {space or 'nothing'}. A candidate takes the settings "
        "that its optimizer has.",
        f"The trial with the best validation {measure} runs again on "
        f"{counted(race.seeds, 'fresh seed')}, the same for all; only these are compared, pair by "
        "pair and seed by seed.",
        f"All runs of a candidate have the same length: {_lengths(plan)}.",
        f"Seconds were measured with {counted(plan.slots, 'job')} at a time, "
        f"{counted(plan.threads, 'thread')} each.",
    ]
    steps = rungs(race.trials, early=race.early)
    if steps:
        parts = ", ".join(f"{r.keep} after {100 * r.share:g} % of a run" for r in steps)
        sentences.append(
            f"Of each candidate's trials, those with the least training loss go on: {parts}."
        )
    return sentences


def _lengths(plan: RacePlan) -> str:
    if len(set(plan.epochs.values())) == 1:
        return counted(next(iter(plan.epochs.values())), "epoch", form="g")
    return ", ".join(
        f"{name} {counted(epochs, 'epoch', form='g')}" for name, epochs in plan.epochs.items()
    )
