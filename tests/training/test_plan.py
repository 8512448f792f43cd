from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.hand_clock import HandClock

from ravine.core.errors import RunError, SettingError
from ravine.training import loop
from ravine.training.budget import Budget, budget_too_short, enough_budget, plan_for_budget
from ravine.training.plan import Plan, Speed, epochs_too_few, plan_for_epochs
from ravine.training.settings import TrainingSettings


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10min", 600), ("1.5h", 5400), ("45", 45), (30, 30)]
)
def test_a_budget_is_read_as_people_write_it(text: object, seconds: float) -> None:
    assert TrainingSettings.of({"budget": text}).budget == seconds


@pytest.mark.parametrize("text", ["ten", "10 parsecs", "-5min", "0s", "nan"])
def test_a_budget_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="budget"):
        TrainingSettings.of({"budget": text})


def test_epochs_may_be_a_fraction_and_give_at_least_one_step() -> None:
    assert plan_for_epochs(2.5, steps_per_epoch=10).total_steps == 25
    assert plan_for_epochs(0.001, steps_per_epoch=10).total_steps == 1


speeds = st.builds(
    Speed, step=st.floats(1e-3, 2), validation=st.floats(0, 30), final=st.floats(0, 30)
)


@given(st.floats(60, 4000), speeds, st.integers(1, 5000))
def test_a_planned_run_ends_within_its_budget(seconds: float, speed: Speed, epoch: int) -> None:
    plan = plan_for_budget(seconds, speed, steps_per_epoch=epoch)
    evaluations = plan.total_steps // (epoch * plan.evaluate_every)
    taken = plan.total_steps * speed.step + evaluations * speed.validation + speed.final
    assert taken <= seconds or plan.total_steps == 1


@settings(max_examples=40)
@given(
    st.floats(100, 1000),
    st.floats(0.02, 0.5),
    st.integers(1, 500),
    st.floats(0.5, 2.5),
    st.floats(0.0, 0.9),
)
def test_corrections_bring_a_machine_that_changes_its_speed_back_into_the_budget(
    seconds: float, step: float, epoch: int, slower: float, since: float
) -> None:
    speed = Speed(step=step, validation=step, final=3.0)
    plan = plan_for_budget(seconds, speed, steps_per_epoch=epoch)
    clock = HandClock()
    budget, done, lately = Budget(seconds=seconds, clock=clock), 0, []
    while done < plan.end:
        factor = slower if clock.before >= since * seconds else 1.0
        lately.append(step * factor)
        clock.before += step * factor
        done += 1
        if budget.is_time_to_check(plan, done):
            plan = budget.corrected(plan, done, sum(lately) / len(lately))
            lately = []
        clock.before += step * factor if plan.evaluates_after(done) else 0.0
    total = clock.before + 3.0 * (slower if clock.before >= since * seconds else 1.0)
    assert len(plan.corrections) <= 20
    assert (
        total <= seconds * 1.03 + 2 * step * slower + 1.2
    )  # evaluations slow down less than steps
    assert total >= 0.9 * seconds - 4 * step * slower


def test_statistics_are_measured_with_evaluations_and_at_the_end_alone() -> None:
    speed = Speed(step=1.0, validation=2.0, final=5.0, statistics=0.5)
    assert speed.with_statistics() == replace(speed, validation=2.5, final=6.0)
    without = replace(speed, validation=0.0)
    assert without.with_statistics() == replace(without, final=6.0)


def test_the_plan_of_an_ended_run_is_followed() -> None:
    speed = Speed(step=1.0, validation=0.0, final=0.0)
    plan = plan_for_budget(100.0, speed, steps_per_epoch=10)
    clock = HandClock(before=90.0)

    def due(plan: Plan, step: int) -> bool:
        return Budget(seconds=100.0, clock=clock).is_time_to_check(plan, step)

    assert due(plan, 50)
    assert not due(replace(plan, settled=True), 50)
    assert [due(plan.corrected(50, 80), step) for step in (49, 50, 51)] == [False, False, True]


def test_the_first_step_alone_does_not_decide_the_end_of_a_plan() -> None:
    plan = plan_for_budget(60.0, Speed(step=1.0, validation=0.0, final=5.0), steps_per_epoch=10)
    clock = HandClock(before=30.0)  # for the choice of a start, and its features

    budget = Budget(seconds=100.0, clock=clock).begun()

    clock.before += 4.0
    assert not budget.is_time_to_check(plan, 1)
    clock.before += 1.0
    assert budget.is_time_to_check(plan, 2)


def test_progress_has_no_jump_at_a_correction_and_ends_at_one() -> None:
    once = Plan(total_steps=100, steps_per_epoch=20).corrected(60, 80)
    assert [once.progress(k) for k in (59, 60, 70, 80)] == pytest.approx([0.59, 0.6, 0.8, 1.0])
    assert once.end == 80
    twice = once.corrected(70, 110)
    assert [twice.progress(k) for k in (59, 60, 70, 90, 110)] == pytest.approx(
        [0.59, 0.6, 0.8, 0.9, 1.0]
    )
    assert twice.end == 110


def test_a_plan_of_before_had_one_correction() -> None:
    values = {
        "total_steps": 100,
        "steps_per_epoch": 20,
        "correction": {"step": 60, "total_steps": 80},
    }
    plan = Plan.from_values(values)
    assert plan.end == 80
    assert plan.settled


@pytest.mark.parametrize(
    "rows", [[(60, 50)], [(120, 130)], [(60, 80), (50, 90)], [(60, 80), (80, 90)]]
)
def test_corrections_in_another_order_are_refused(rows: list[tuple[int, int]]) -> None:
    corrections = [{"step": step, "total_steps": end} for step, end in rows]
    with pytest.raises(RunError, match="correction"):
        Plan.from_values({"total_steps": 100, "steps_per_epoch": 9, "corrections": corrections})


@given(speeds, st.integers(1, 1000), st.booleans())
def test_a_plan_survives_its_way_through_plain_values(
    speed: Speed, epoch: int, corrected: bool
) -> None:
    plan = plan_for_budget(600, speed, steps_per_epoch=epoch)
    if corrected and plan.end > 1:
        plan = plan.corrected(1, 7)
    assert Plan.from_values(plan.to_values()) == plan


@pytest.mark.parametrize(
    "values", [{}, {"total_steps": "x"}, {"total_steps": 0, "steps_per_epoch": 1}, {"a": 1}]
)
def test_a_plan_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(RunError, match="plan"):
        Plan.from_values(values)


@pytest.mark.parametrize(("seconds", "is_short"), [(16.0, True), (90.0, False)])
def test_a_budget_that_leaves_few_steps_names_one_that_would_do(
    seconds: float, is_short: bool
) -> None:
    speed = Speed(step=0.4, validation=2.0, final=11.0)
    said = budget_too_short(plan_for_budget(seconds, speed, steps_per_epoch=175), seconds)

    assert bool(said) == is_short
    if said:
        enough = float(said.split("--budget ")[1].split("s")[0])
        assert plan_for_budget(enough, speed, steps_per_epoch=175).end > 100


def test_one_budget_is_named_at_the_start_and_at_the_end_of_a_run() -> None:
    plan = plan_for_budget(20.0, Speed(step=1.0, validation=2.0, final=11.0), steps_per_epoch=175)
    said = budget_too_short(plan, 20.0)
    ended = plan.corrected(4, plan.end + 2)  # a machine that became quiet changes nothing of it

    assert said is not None
    assert f"--budget {enough_budget(ended, 20.0)}s " in said


@pytest.mark.parametrize(("epochs", "per_epoch"), [(10, 2), (0.2, 9), (1, 99), (3, 33)])
def test_too_few_epochs_name_enough(epochs: float, per_epoch: int) -> None:
    plan = plan_for_epochs(epochs, steps_per_epoch=per_epoch)

    said = epochs_too_few(plan, epochs)

    assert said is not None
    enough = float(said.split("--epochs ")[1].split()[0])
    assert epochs_too_few(plan_for_epochs(enough, steps_per_epoch=per_epoch), enough) is None


def test_epochs_enough_and_budgets_are_not_spoken_of() -> None:
    assert epochs_too_few(plan_for_epochs(50, steps_per_epoch=2), 50) is None
    assert epochs_too_few(plan_for_epochs(1, steps_per_epoch=2), None) is None


def test_small_corrections_of_a_plan_are_not_said() -> None:
    plan = Plan(total_steps=1000, steps_per_epoch=100)
    said = [loop._said(plan)]
    for step, end in ((100, 950), (200, 1050), (300, 800), (400, 850), (500, 1500)):
        plan = plan.corrected(step, end)
        said.append(loop._said(plan))

    assert said == [1000, 1000, 1000, 800, 800, 1500]
