"""Rules over the rows of a run, on losses made by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ravine.findings.detectors import RUN_EXPLAINS
from ravine.findings.finding import Findings, merge
from ravine.findings.history_detectors import find_over_time
from ravine.findings.run_trace import trace
from ravine.findings.target_floor import expected_floor

CHANCE = math.log(10)


def found(
    losses: Any,
    *,
    rates: Any = None,
    validation: Any = None,
    normalised: bool = False,
    floor: float = 0.0,
    accuracy: float = 0.5,
) -> Findings:
    """Returns the findings of a run of 200 rows, with ten validations."""
    rows: list[dict[str, Any]] = []
    noise = np.random.default_rng(0).normal(0, 0.05, 200)
    at = np.linspace(0, 1, 200)
    for n, (x, e) in enumerate(zip(at, noise, strict=True)):
        value = losses(x) * (1 + e)
        rows.append({"kind": "step", "step": n + 1, "loss": value if value < 1e9 else None,
                     "lr": 0.1 if rates is None else rates(x)})  # fmt: skip
        if (n + 1) % 20 == 0 and validation is not None:
            rows.append({"kind": "epoch", "step": n + 1, "train_loss": losses(x),
                         "loss": validation(x), "accuracy": accuracy})  # fmt: skip
    history = trace(rows, classes=10, normalised=normalised, floor=floor)
    return merge(find_over_time(history), RUN_EXPLAINS)


def find_codes(rows: list[dict[str, Any]]) -> list[str]:
    return [one.code for one in find_over_time(trace(rows))]


def learns(x: float) -> float:
    return 0.2 + (CHANCE - 0.2) * math.exp(-6 * x)


def test_a_run_that_learns_has_no_findings() -> None:
    assert found(learns, validation=lambda x: learns(x) + 0.1).codes == ()
    assert found(learns, rates=lambda x: 0.05 * (1 + math.cos(math.pi * x))).codes == ()


def test_nothing_learnt_is_a_plateau_from_the_first_step() -> None:
    (one,) = found(lambda x: CHANCE)

    assert (one.code, one.severity, one.step) == ("plateau", "critical", 1)
    assert one.evidence["loss"] == pytest.approx(CHANCE, rel=0.02)


def test_a_plateau_that_so_few_noisy_rows_do_not_prove_is_a_warning() -> None:
    noise = np.random.default_rng(1).normal(0, 0.25, 45)
    rows = [{"kind": "step", "step": n + 1, "loss": 0.97 * CHANCE + e} for n, e in enumerate(noise)]
    (one,) = find_over_time(trace(rows, classes=10))

    assert (one.code, one.severity) == ("plateau", "warning")


def test_a_loss_that_begins_to_fall_late_is_no_plateau() -> None:
    assert found(lambda x: CHANCE * (1 - 0.4 * max(0.0, x - 0.5))).codes == ()


def test_divergence_is_dated() -> None:
    (one,) = found(lambda x: learns(x) if x < 0.5 else 4 * CHANCE)

    assert one.code == "diverged"
    assert 95 <= (one.step or 0) <= 110


def test_a_leap_of_the_loss_is_told_even_where_it_comes_back() -> None:
    (one,) = found(lambda x: 1e4 if 0.4 < x < 0.45 else learns(x))
    assert (one.severity, one.code, one.step) == ("warning", "diverged", 81)
    assert not found(lambda x: 20.0 if 0.4 < x < 0.45 else learns(x)).codes


def test_a_leap_that_ends_where_nothing_is_known_is_critical() -> None:
    (one,) = found(lambda x: CHANCE * (1e6 if 0.4 < x < 0.6 else 1.0))

    assert (one.code, one.severity) == ("diverged", "critical")


def test_what_was_learnt_and_is_forgotten_has_diverged() -> None:
    said = found(lambda x: learns(x) if x < 0.5 else CHANCE)
    assert said.codes[0] == "diverged"
    assert said[0].step in range(90, 102)


def test_a_noisy_loss_that_dips_by_chance_has_forgotten_nothing() -> None:
    losses = 0.45 + 0.13 * np.random.default_rng(3).standard_normal(140)
    rows = [{"kind": "step", "step": n, "loss": float(v)} for n, v in enumerate(losses)]

    assert "diverged" not in find_codes(rows)


def test_a_loss_that_is_not_finite_is_dated_and_swallows_the_rest() -> None:
    (one,) = found(lambda x: learns(x) if x < 0.5 else 1e12)

    assert (one.code, one.severity, one.step) == ("not-finite", "critical", 101)


def test_overfitting_begins_where_the_validation_loss_was_least() -> None:
    (one,) = found(lambda x: 2 * math.exp(-5 * x), validation=lambda x: 1 + (x - 0.4) ** 2 * 3)

    assert one.code == "overfitting"
    assert one.step == 80
    assert one.changes == {"dropout": 0.3}


def test_underfitting_needs_a_flat_high_loss_that_validation_shares() -> None:
    def high(x: float) -> float:
        return 1.5 + 0.8 * math.exp(-20 * x)

    assert found(high, validation=high).codes == ("underfitting",)
    assert found(high, validation=lambda x: high(x) + 0.6).codes == ()


def test_what_the_targets_leave_is_no_underfitting() -> None:
    floor = expected_floor(10, label_smoothing=0.2)  # 0.38 ln K

    def learnt(x: float) -> float:
        return floor + 0.05 + (CHANCE - floor) * math.exp(-20 * x)

    def half(x: float) -> float:
        return floor + 0.9 + 0.5 * math.exp(-20 * x)

    assert found(learnt, validation=learnt).codes == ("underfitting",)
    assert found(learnt, validation=learnt, floor=floor).codes == ()
    (one,) = found(half, validation=half, floor=floor)
    assert one.code == "underfitting"
    assert "where the targets allow 0.867" in one.seen


@pytest.mark.parametrize(("accuracy", "codes"), [(0.8, ("underfitting",)), (0.88, ())])
def test_answers_that_are_right_are_no_underfitting_whatever_the_loss(
    accuracy: float, codes: tuple[str, ...]
) -> None:
    # Fano: h(e) + e ln 9 is 0.41 ln 10 for e = 0.2 and 0.27 ln 10 for e = 0.12; it is told at 0.35.
    assert found(lambda _: 1.0, validation=lambda _: 1.0, accuracy=accuracy).codes == codes


def test_a_loss_near_its_own_floor_is_no_plateau() -> None:
    floor = expected_floor(10, label_smoothing=0.9)

    assert found(lambda _: floor + 0.005).codes == ("plateau",)
    assert found(lambda _: floor + 0.005, floor=floor).codes == ()


def test_a_rate_that_falls_too_early_is_dated() -> None:
    (one,) = found(lambda x: max(1.0, CHANCE - 10 * x), rates=lambda x: 0.1 if x < 0.2 else 1e-5)

    assert one.code == "rate-too-low"
    assert one.step == 41


def test_statistics_that_never_fit_are_told_from_overfitting_by_the_norm() -> None:
    def never(x: float) -> float:
        return 2.5 + x

    (one,) = found(learns, validation=never, normalised=True)
    assert one.code == "norm-statistics-disagree"
    assert "--norm-statistics measured" in one.cure
    assert one.changes == {"norm_statistics": "measured"}
    assert found(learns, validation=never).codes == ("overfitting",)


def test_few_rows_and_torn_rows_say_nothing() -> None:
    assert merge(find_over_time(trace([])), RUN_EXPLAINS).codes == ()
    torn = [{"kind": "step"}, {"kind": "step", "step": 3, "loss": 2.0}, {"kind": "other"}]
    assert merge(find_over_time(trace(torn)), RUN_EXPLAINS).codes == ()


@pytest.mark.parametrize(("last", "codes"), [(CHANCE, ("plateau",)), (0.6 * CHANCE, ())])
def test_six_rows_are_enough_to_say_that_nothing_was_learnt(
    last: float, codes: tuple[str, ...]
) -> None:
    losses = [2.6, 2.4, *np.linspace(CHANCE, last, 4)]
    rows = [{"kind": "step", "step": 10 * n, "loss": x} for n, x in enumerate(losses, 1)]

    said = merge(find_over_time(trace(rows, classes=10)), RUN_EXPLAINS)

    assert said.codes == codes
    assert not said.of("critical")


@pytest.mark.parametrize("rows", [1, 2, 4, 7])
def test_a_loss_beyond_all_bounds_has_diverged_however_short_the_run(rows: int) -> None:
    losses = np.geomspace(CHANCE, 1e9, rows) if rows > 1 else [1e9]
    history = [{"kind": "step", "step": 10 * n, "loss": v} for n, v in enumerate(losses, 1)]
    (one,) = [f for f in find_over_time(trace(history, classes=10)) if f.code == "diverged"]

    assert (one.severity, one.step) == ("critical", 10 * rows)
    assert "1e+09" in one.seen


def test_a_short_run_that_only_begins_high_is_left_in_peace() -> None:
    history = [{"kind": "step", "step": n, "loss": v} for n, v in enumerate((90, 9, 3, 2), 1)]

    assert list(find_over_time(trace(history, classes=10))) == []


def test_the_epochs_of_a_run_without_a_row_of_steps_are_judged() -> None:
    epoch = {"kind": "epoch", "step": 30, "train_loss": 4e9, "loss": 6e10}
    (one,) = find_over_time(trace([epoch], classes=10))

    assert (one.code, one.step) == ("diverged", 30)


@pytest.mark.parametrize(("validation", "named"), [(True, False), (False, True)])
def test_a_policy_whose_loss_comes_back_to_0_as_it_learns_has_not_diverged(
    validation: bool, named: bool
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 140)
    rows: list[dict[str, Any]] = []
    for n, e in enumerate(noise):
        rows.append({"kind": "step", "step": n + 1, "loss": -0.35 + 0.0025 * n + e})
        if n % 17 == 16:
            reached = 1 - n / 150 if validation else 0.4 + n / 150
            rows.append({"kind": "epoch", "step": n + 1, "loss": reached})

    assert ("diverged" in find_codes(rows)) == named


@pytest.mark.parametrize(("first", "named"), [(0.3, True), (2.0, False)])
def test_a_validation_of_another_quantity_than_the_loss_is_not_compared(
    first: float, named: bool
) -> None:
    rows: list[dict[str, Any]] = []
    for n in range(140):
        loss = 0.3 * math.exp(-n / 30)
        rows.append({"kind": "step", "step": n + 1, "loss": loss})
        if n % 17 == 16:
            now = {"train_loss": loss, "loss": first + n / 100}
            rows.append({"kind": "epoch", "step": n + 1, **now})

    assert (find_codes(rows) != []) == named


@pytest.mark.parametrize(
    ("validation", "named"),
    [
        (lambda x: -0.1 + x, True),  # minus the training loss
        (lambda x: 0.1 - x, False),
        (lambda x: 0.1 - 3 * x * (1 - x), False),  # learns, and then memorises
        (lambda x: 1.5 + x, False),  # another quantity
        (lambda x: 4 * x, False),  # memorises from the first step on
    ],
)
def test_a_validation_that_is_the_training_loss_with_the_sign_turned_is_named(
    validation: Callable[[float], float], named: bool
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 140)
    rows: list[dict[str, Any]] = []
    for n, e in enumerate(noise):
        rows.append({"kind": "step", "step": n + 1, "loss": 0.1 - n / 140 + e})
        if n % 17 == 16:
            rows.append({"kind": "epoch", "step": n + 1, "loss": validation(n / 140)})

    assert ("loss-of-wrong-sign" in find_codes(rows)) == named
