import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.core.errors import SettingError
from ravine.schedules import SCHEDULES, cosine, linear, one_cycle, step, with_warmup
from ravine.schedules.settings import ScheduleSettings


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@given(progress=st.floats(0, 1))
def test_every_factor_lies_between_0_and_1(name: str, progress: float) -> None:
    assert 0 <= SCHEDULES[name](progress) <= 1 + 1e-12


def test_step_drops_where_the_wrn_paper_does() -> None:
    for epoch, factor in ((0, 1), (59, 1), (60, 0.2), (119, 0.2), (120, 0.04), (160, 0.008)):
        assert step(epoch / 200) == pytest.approx(factor)


def test_cosine_linear_and_one_cycle_pass_their_points() -> None:
    assert [cosine(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert cosine(0.25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert [linear(p) for p in (0, 0.3, 1)] == pytest.approx([1, 0.7, 0])
    assert [one_cycle(p) for p in (0, 0.2, 0.6, 1)] == pytest.approx([0.04, 1, 0.5, 0])


@given(st.floats(0.01, 0.9), st.floats(0, 1))
def test_warm_up_rises_and_then_follows(share: float, progress: float) -> None:
    warmed = with_warmup(cosine, share=share)(progress)
    if progress < share:
        assert warmed == pytest.approx(progress / share)
    else:
        assert warmed == pytest.approx(cosine((progress - share) / (1 - share)))


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_warm_up_joins_the_schedule_without_a_jump(name: str) -> None:
    warmed = ScheduleSettings(schedule=name, warmup=0.1).build_schedule()
    assert warmed(0.0) == 0.0
    assert warmed(0.1 - 1e-9) == pytest.approx(warmed(0.1), rel=1e-6)


def test_an_unknown_schedule_names_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'cosine'"):
        ScheduleSettings.of({"schedule": "cosinus"})


@pytest.mark.parametrize("share", [1.0, 1.5, -0.1, float("inf"), float("nan")])
def test_a_warm_up_that_leaves_nothing_after_it_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match=r"share must be in \[0, 1\)"):
        with_warmup(cosine, share=share)
