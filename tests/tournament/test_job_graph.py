"""The job graph of a race: every order of jobs gives the same race, nothing is run twice."""

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.tournament.job_graph import Job, JobGraph, Outcome
from ravine.tournament.rungs import search_cost
from ravine.tournament.trial_points import at_point, points

STEPS = 80
FAILS_FROM = {"time": 1.0, "failed": 0.5}  # share of a run; the rest fails at once


def graph_of(
    *, candidates: int = 2, trials: int = 6, seeds: int = 3, early: bool = True
) -> JobGraph:
    names = [f"candidate-{k}" for k in range(candidates)]
    return JobGraph(
        trials={name: [{"seed": 0, "lr": 0.1 * t} for t in range(trials)] for name in names},
        seeds=list(range(1, seeds + 1)),
        early=early,
        folders={name: name for name in names},
        in_finals={},
    )


def result_of(job: Job, *, fails: Mapping[str, str]) -> Outcome:
    """What this job always ends in: a pure function of the job."""
    chance = random.Random(job.run)
    loss, failing = chance.random() + 1 - job.share, fails.get(job.run)
    if failing is not None and job.share >= FAILS_FROM.get(failing, 0.0):
        return Outcome(status=failing, total_steps=STEPS)  # type: ignore[arg-type]
    status = "ended" if job.share == 1 else "paused"
    return Outcome(
        status=status,
        step=round(job.share * STEPS),
        total_steps=STEPS,
        loss=loss,
        accuracy=1 - loss / 4,
    )


def run(graph: JobGraph, *, order: random.Random, slots: int, fails: Mapping[str, str]) -> dict:  # type: ignore[type-arg]
    """Does all jobs with so many slots, which end in any order."""
    outcomes: dict[str, Outcome] = {}
    running: dict[str, Job] = {}
    while True:
        for job in graph.ready(outcomes):
            if len(running) < slots:
                running.setdefault(job.key, job)
        if not running:
            return outcomes
        key = order.choice(sorted(running))
        assert key not in outcomes, "run twice"
        outcomes[key] = result_of(running.pop(key), fails=fails)


failures = st.dictionaries(
    st.sampled_from([f"candidate-{e}-trial-{t}" for e in range(2) for t in range(6)]),
    st.sampled_from(["diverged", "memory", "time", "failed"]),
)


@given(st.integers(), st.integers(1, 8), failures, st.booleans())
def test_any_order_and_number_of_slots_is_the_same_race(
    seed: int, slots: int, fails: dict[str, str], early: bool
) -> None:
    graph = graph_of(early=early)
    one_by_one = run(graph, order=random.Random(0), slots=1, fails=fails)
    assert run(graph, order=random.Random(seed), slots=slots, fails=fails) == one_by_one


@given(failures)
def test_all_that_can_run_on_fresh_seeds_does(fails: dict[str, str]) -> None:
    graph = graph_of()
    outcomes = run(graph, order=random.Random(1), slots=2, fails=fails)
    for name in graph.trials:
        finals = [key for key in outcomes if key.startswith(f"{name}-seed-")]
        sound = 6 - sum(run.startswith(name) for run in fails)
        assert len(finals) == (3 if sound else 0)


def test_the_next_best_takes_the_place_of_one_that_breaks_at_its_end() -> None:
    graph = graph_of(candidates=1)
    losses = {t: random.Random(f"candidate-0-trial-{t}").random() for t in range(6)}
    best, next_best, *_ = sorted(losses, key=lambda t: losses[t])
    fails = {f"candidate-0-trial-{best}": "time"}
    outcomes = run(graph, order=random.Random(4), slots=2, fails=fails)
    assert outcomes[f"candidate-0-trial-{best}@1"].status == "time"
    assert graph.best_trial("candidate-0", outcomes) == next_best


@pytest.mark.parametrize("trials", range(1, 14))
@pytest.mark.parametrize("early", [True, False])
def test_a_search_takes_as_long_as_was_foreseen(trials: int, early: bool) -> None:
    graph = graph_of(candidates=1, trials=trials, early=early)
    outcomes = run(graph, order=random.Random(2), slots=1, fails={})
    steps: dict[str, int] = {}
    for key, outcome in outcomes.items():
        if "-trial-" in key:
            name = key.partition("@")[0]
            steps[name] = max(steps.get(name, 0), outcome.step)
    assert sum(steps.values()) == pytest.approx(STEPS * search_cost(trials, early=early))


def test_the_hopeless_are_stopped_and_the_best_is_kept() -> None:
    graph = graph_of(candidates=1)
    outcomes = run(graph, order=random.Random(3), slots=2, fails={})
    losses = {t: random.Random(f"candidate-0-trial-{t}").random() for t in range(6)}
    ended = {key.partition("@")[0] for key in outcomes if key.endswith("@1")}
    best = sorted(losses, key=lambda t: losses[t])
    trials = {name for name in ended if "-trial-" in name}
    assert trials == {f"candidate-0-trial-{t}" for t in best[:1]}
    assert graph.best_trial("candidate-0", outcomes) == best[0]


def test_trials_are_at_the_same_points_for_all() -> None:
    found = points(6, seed=0)
    assert found == points(9, seed=0)[:6]
    momentum, adam = (
        [at_point(p, free=free, default_lr=0.01) for p in found]
        for free in ({"lr", "momentum"}, {"lr", "momentum", "eps"})
    )
    assert [t["lr"] for t in momentum] == [t["lr"] for t in adam]
    assert [t.get("momentum") for t in momentum] == [t.get("momentum") for t in adam]
    assert all("eps" not in t for t in momentum)
    rates = [t["lr"] for t in adam[1:]]
    assert 0.001 <= min(rates) < max(rates) <= 0.1
    assert len(set(rates)) == 5


def test_a_given_setting_is_not_searched() -> None:
    (_, point) = points(2, seed=0)
    found = at_point(point, free={"momentum", "eps"}, default_lr=0.01)
    assert "lr" not in found
    assert math.isclose(found["momentum"], 1 - point["1-momentum"], rel_tol=1e-3)
