"""A budget whose evaluations are timed on the way: planned too long, or slowed meanwhile."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.hand_clock import HandClock

from ravine.training.budget import Budget, plan_for_budget
from ravine.training.plan import Speed


@settings(max_examples=60)
@given(
    st.floats(20, 300),
    st.floats(0.05, 0.3),
    st.floats(0.3, 3.0),
    st.floats(1.0, 2.0),
    st.floats(0.0, 0.6),
)
def test_a_run_ends_with_its_budget_whatever_was_thought_of_its_evaluation(
    seconds: float, step: float, thought: float, slower: float, since: float
) -> None:
    """The final evaluation is planned `thought` times as long as it is on a quiet machine."""
    image, images = 4e-4, 10_000
    planned = Speed(
        step=step, validation=0.0, final=images * image * thought,
        image=image * thought,
    )  # fmt: skip
    plan = plan_for_budget(seconds, planned, steps_per_epoch=10**6)
    clock = HandClock()
    budget, done, lately = Budget(seconds=seconds, clock=clock), 0, list[float]()
    while done < plan.end:
        factor = slower if clock.before >= since * seconds else 1.0
        lately.append(step * factor)
        clock.before += step * factor
        done += 1
        if budget.is_time_to_check(plan, done):
            mean, over = sum(lately) / len(lately), len(lately)
            if count := budget.images_to_time(plan, done, mean, over=over):
                clock.before += (spent := count * image * factor)
                budget.timed(count, image * factor, spent)
            plan = budget.corrected(plan, done, mean, over=over)
            lately = []
    factor = slower if clock.before >= since * seconds else 1.0
    total = clock.before + images * image * factor
    assert len(plan.corrections) <= 40
    # A change is seen after a twentieth, and then the evaluation takes longer in any case.
    least = (since + 0.05) * seconds + images * image * slower + 1
    share = 0.02 if slower == 1 or since == 0 else 0.05
    assert total <= max(seconds + 2, least) + 2 * step * slower
    assert total >= (0.99 - share) * seconds - 4 * step * slower
    assert budget.images.spent <= 0.03 * seconds


def test_an_evaluation_is_timed_again_when_the_steps_change_their_pace() -> None:
    speed = Speed(step=1.0, validation=0.0, final=5.0, image=1e-3)
    plan = plan_for_budget(1000.0, speed, steps_per_epoch=100)
    clock = HandClock(before=100.0)
    budget = Budget(seconds=1000.0, clock=clock)

    first = budget.images_to_time(plan, 100, 1.0, over=50)
    budget.timed(first, 1e-3, 0.5)
    clock.before = 150.0
    alike = budget.images_to_time(plan, 150, 1.0, over=50)
    slower = budget.images_to_time(plan, 151, 2.0, over=50)
    budget.timed(slower, 2e-3, 1.0)
    assert budget.images_to_time(plan, 160, 2.1, over=9) == 0
    clock.before = 360.0
    later = budget.images_to_time(plan, 300, 2.1, over=50)

    assert first == later == slower == 512
    assert alike == 0


@pytest.mark.parametrize(
    "speed",
    [
        pytest.param(Speed(step=1.0, validation=0.0, final=5.0), id="none was timed before"),
        pytest.param(
            Speed(step=1.0, validation=0.0, final=5.0, image=8.0), id="one takes too long"
        ),
    ],
)
def test_no_evaluation_is_timed_on_the_way(speed: Speed) -> None:
    plan = plan_for_budget(1000.0, speed, steps_per_epoch=100)
    budget = Budget(seconds=1000.0, clock=HandClock(before=500.0))
    assert budget.images_to_time(plan, 100, 1.0, over=50) == 0
