import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.core.errors import RunError, SettingError
from ravine.training.budget import correct_plan, is_time_to_correct, plan_for_budget
from ravine.training.plan import Plan, Speed, plan_for_epochs
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


@given(st.floats(200, 4000), st.floats(0.01, 0.5), st.integers(1, 500), st.floats(0.5, 1.9))
def test_one_correction_brings_another_speed_back_into_the_budget(
    seconds: float, step: float, epoch: int, slower: float
) -> None:
    speed = Speed(step=step, validation=step, final=5.0)
    plan = plan_for_budget(seconds, speed, steps_per_epoch=epoch)
    evaluation = plan.steps_per_epoch * plan.evaluate_every

    def taken(steps: int) -> float:
        return slower * (steps * step + steps // evaluation * step)

    at = next(k for k in range(1, plan.end) if is_time_to_correct(plan, k, taken(k) / seconds))
    corrected = correct_plan(
        plan, step=at, step_seconds=step * slower, seconds_left=seconds - taken(at)
    )
    total = taken(corrected.end) + slower * 5.0
    assert total <= seconds * 1.001
    assert total >= 0.93 * seconds - 2 * slower * step


def test_progress_has_no_jump_at_a_correction_and_ends_at_one() -> None:
    plan = Plan(total_steps=100, steps_per_epoch=20).corrected(60, 80)
    assert plan.progress(60) == pytest.approx(0.6)
    assert plan.progress(59) == pytest.approx(0.59)
    assert plan.progress(70) == pytest.approx(0.8)
    assert plan.progress(80) == 1.0
    assert plan.end == 80


@given(speeds, st.integers(1, 1000), st.booleans())
def test_a_plan_survives_its_way_through_plain_values(
    speed: Speed, epoch: int, corrected: bool
) -> None:
    plan = plan_for_budget(600, speed, steps_per_epoch=epoch)
    if corrected:
        plan = plan.corrected(1, 7)
    assert Plan.from_values(plan.to_values()) == plan


@pytest.mark.parametrize(
    "values", [{}, {"total_steps": "x"}, {"total_steps": 0, "steps_per_epoch": 1}, {"a": 1}]
)
def test_a_plan_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(RunError, match="plan"):
        Plan.from_values(values)
