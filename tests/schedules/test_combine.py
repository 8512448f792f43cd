"""Schedules made of schedules, against hand-solved points and written-out formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.core.errors import SettingError
from ravine.schedules import (
    SCHEDULES,
    chain,
    cosine,
    level,
    linear,
    mirrored_cycle,
    reverse,
    with_floor,
    with_warmup,
)
from ravine.schedules.settings import ScheduleSettings

names = st.sampled_from(sorted(SCHEDULES))
progresses = st.floats(0, 1)


@given(st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.floats(0.01, 0.9), progresses)
def test_warm_up_then_cosine_then_constant(
    rise: float, hold: float, floor: float, p: float
) -> None:
    fall = 1 - rise - hold
    joined = chain(
        (rise, reverse(linear)), (fall, with_floor(cosine, floor=floor)), (hold, level(floor))
    )
    if p < rise:
        expected = p / rise
    elif p < rise + fall:
        expected = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (p - rise) / fall))
    else:
        expected = floor
    assert joined(p) == pytest.approx(expected, abs=1e-9)


@given(st.floats(0.05, 0.9), st.floats(0.0, 0.9))
def test_a_chain_whose_parts_meet_has_no_jump_anywhere(share: float, floor: float) -> None:
    down = with_floor(cosine, floor=floor)
    joined = chain((share, down), (1 - share, reverse(down)))
    points = np.linspace(0, 1, 2001)
    values = np.array([joined(float(p)) for p in points])

    steepest = math.pi / 2 / min(share, 1 - share)  # of a cosine over the shorter share
    assert np.abs(np.diff(values)).max() <= steepest * points[1] * 1.001


@given(st.lists(names, min_size=1, max_size=5), st.data())
def test_each_part_of_a_chain_runs_whole_over_its_share(
    parts: list[str], data: st.DataObject
) -> None:
    raw = data.draw(st.lists(st.integers(1, 9), min_size=len(parts), max_size=len(parts)))
    shares = [r / sum(raw) for r in raw]
    joined = chain(*zip(shares, (SCHEDULES[name] for name in parts), strict=True))
    for index, name in enumerate(parts):
        for inside in (0.05, 0.45, 0.55, 0.95):
            p = sum(shares[:index]) + shares[index] * inside
            assert joined(p) == pytest.approx(SCHEDULES[name](inside), abs=1e-9)
    assert joined(1.0) == pytest.approx(SCHEDULES[parts[-1]](1.0), abs=1e-9)


@given(names, st.floats(0.01, 0.9), progresses)
def test_warm_up_is_a_chain(name: str, share: float, p: float) -> None:
    inner = SCHEDULES[name]
    rise = reverse(linear)
    chained = chain((share, lambda q: inner(0.0) * rise(q)), (1 - share, inner))
    if abs(p - share) > 1e-9 and name != "step":
        assert chained(p) == pytest.approx(with_warmup(inner, share=share)(p), abs=1e-9)


@given(names, st.floats(0, 1), progresses)
def test_a_floor_presses_into_what_is_above_it(name: str, floor: float, p: float) -> None:
    inner = SCHEDULES[name]
    assert with_floor(inner, floor=floor)(p) == pytest.approx(floor + (1 - floor) * inner(p))


def test_ends_are_exact() -> None:
    assert with_floor(linear, floor=0.3)(1.0) == 0.3
    assert with_floor(linear, floor=0.3)(0.0) == 1.0
    assert chain((0.1, linear), (0.2, linear), (0.7, level(0.3)))(1.0) == 0.3


@pytest.mark.parametrize("rise", [0.0, 0.2, 0.5])
def test_the_mirrored_cycle_is_lowest_at_the_rise(rise: float) -> None:
    points = [0.0, rise / 2, rise, (1 + rise) / 2, 1.0]
    expected = [1.0 if rise else 0.0, 0.5 if rise else 0.0, 0.0, 0.5, 1.0]
    assert [mirrored_cycle(p, rise=rise) for p in points] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chain(), "must sum to 1, got 0"),
        (lambda: chain((0.5, linear), (0.4, linear)), "must sum to 1, got 0.9"),
        (lambda: chain((0.0, linear), (1.0, linear)), r"share must be in \(0, 1\]"),
        (lambda: with_floor(linear, floor=1.5), r"floor must be in \[0, 1\]"),
        (lambda: level(-1.0), "factor must be in"),
    ],
)
def test_what_makes_no_schedule_is_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError, match=message):
        make()


def test_by_default_only_the_rate_moves() -> None:
    assert set(ScheduleSettings().build_schedules()) == {"lr"}


@pytest.mark.parametrize(
    ("schedule", "warmup", "peak"),
    [("one-cycle", 0.0, 0.2), ("one-cycle", 0.5, 0.6), ("cosine", 0.1, 0.1), ("linear", 0.0, 0.0)],
)
def test_one_cycle_momentum_is_lowest_at_the_rates_peak(
    schedule: str, warmup: float, peak: float
) -> None:
    settings = {"schedule": schedule, "warmup": warmup, "momentum_schedule": "one-cycle"}
    made = ScheduleSettings.of(settings).build_schedules()
    points = [k / 1000 for k in range(1001)]

    assert max(points, key=made["lr"]) == peak
    assert min(points, key=made["momentum"]) == peak
    assert 0.95 * made["momentum"](peak) == pytest.approx(0.85)
    assert made["momentum"](1.0) == 1.0
    assert made["momentum"](0.0) == (1.0 if peak else pytest.approx(0.85 / 0.95))


def test_decay_and_momentum_take_the_named_schedules_without_warm_up() -> None:
    made = ScheduleSettings.of(
        {"warmup": 0.3, "momentum_schedule": "linear", "decay_schedule": "cosine"}
    ).build_schedules()
    assert made["momentum"](0.25) == 0.75
    assert made["weight_decay"](0.25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    with pytest.raises(SettingError, match="unknown momentum_schedule 'cosinus'"):
        ScheduleSettings.of({"momentum_schedule": "cosinus"})
