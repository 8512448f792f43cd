"""A run whose validation stands still ends sooner, and an interrupted one ends at the same step."""

from pathlib import Path

import numpy as np
import pytest

import ravine
from ravine.core.errors import SettingError
from ravine.core.events import Event, StepDone
from ravine.schedules.curves import constant, cosine, step
from ravine.schedules.scheduler import between
from ravine.training.best_weights import Evaluated
from ravine.training.early_stop import end_early, stands_still
from ravine.training.plan import Plan

_FLAT = [0.5, 0.6, 0.7, 0.7, 0.7, 0.69]
_SMALL = {"model": "wrn-10-1", "batch": 16, "device": "cpu", "precision": "float32"}
_SMALL |= {"convolution": "torch", "monitor": 0.0, "show": "none"}


def _rows(accuracies: list[float], losses: list[float] | None = None) -> list[Evaluated]:
    pairs = zip(accuracies, losses or [1 - a for a in accuracies], strict=True)
    return [Evaluated(step=10 * (k + 1), accuracy=a, loss=b) for k, (a, b) in enumerate(pairs)]


def test_a_plateau_is_as_long_as_the_patience() -> None:
    assert stands_still(_rows(_FLAT), 3)
    assert not stands_still(_rows(_FLAT[:5]), 3)
    assert not stands_still(_rows([0.5, 0.6, 0.7, 0.71, 0.72, 0.73]), 3)


def test_one_lucky_evaluation_does_not_hide_a_slow_improvement() -> None:
    assert not stands_still(_rows([0.5, 0.55, 0.9, 0.6, 0.65, 0.7, 0.75, 0.8]), 3)


def test_a_loss_that_still_falls_is_no_plateau_of_the_accuracy() -> None:
    falling = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert not stands_still(_rows([0.7] * 6, falling), 3)
    assert stands_still(_rows([0.7] * 6, falling[::-1]), 3)


def test_a_loss_that_is_not_finite_is_no_improvement() -> None:
    assert stands_still(_rows([0.1] * 6, [2.3, 2.3, 2.3, float("nan"), 2.4, float("nan")]), 3)


def test_what_is_left_of_a_schedule_is_gone_through_in_the_patience() -> None:
    plan = Plan(total_steps=200, steps_per_epoch=10)
    ended = end_early(plan, 60, _rows(_FLAT), patience=3, schedules={"lr": cosine})
    assert ended.end == 90
    assert ended.progress(60) == plan.progress(60)
    assert ended.progress(75) == pytest.approx(0.3 + 0.7 / 2)
    assert ended.progress(90) == 1.0
    assert Plan.from_values(ended.to_values()) == ended


@pytest.mark.parametrize(
    ("curve", "done"), [(constant, 60), (step, 170), (between(0.9, 0.9, cosine), 60)]
)
def test_where_no_schedule_has_anything_left_the_run_ends_at_once(curve, done: int) -> None:  # type: ignore[no-untyped-def]
    plan = Plan(total_steps=200, steps_per_epoch=10)
    assert end_early(plan, done, _rows(_FLAT), patience=3, schedules={"lr": curve}).end == done


def test_a_run_that_is_nearly_over_and_one_that_was_shortened_are_left_alone() -> None:
    plan = Plan(total_steps=85, steps_per_epoch=10)
    assert end_early(plan, 60, _rows(_FLAT), patience=3, schedules={"lr": cosine}) is plan
    short = Plan(total_steps=300, steps_per_epoch=10).stopped(40, 100)
    assert end_early(short, 60, _rows(_FLAT), patience=3, schedules={"lr": cosine}) is short


def test_a_stop_after_a_correction_has_no_jump_either() -> None:
    plan = Plan(total_steps=100, steps_per_epoch=10).corrected(40, 80).stopped(60, 70)
    assert plan.end == 70
    assert plan.progress(59) < plan.progress(60) == pytest.approx(0.7)
    assert plan.progress(65) == pytest.approx(0.85)


@pytest.fixture
def unlearnable(tmp_path: Path) -> Path:
    """Returns an .npz of noise whose labels are drawn at random."""
    chance = np.random.default_rng(1)
    path = tmp_path / "noise.npz"
    images = chance.integers(0, 256, (160, 8, 8), dtype=np.uint8)
    np.savez(path, images=images, labels=chance.integers(0, 3, 160))
    return path


@pytest.mark.slow
@pytest.mark.slow
def test_an_interrupted_run_that_ends_early_has_the_same_weights(
    unlearnable: Path, tmp_path: Path
) -> None:
    """Stopped before the decision and after it."""
    settings = {**_SMALL, "epochs": 20, "patience": 2, "checkpoint_every": 0.0}
    whole = ravine.train(unlearnable, out=tmp_path / "whole", **settings)
    decided = whole.recorded_plan.stop
    assert decided is not None
    last = whole.epochs[-1]["step"]
    assert decided.step < last == decided.total_steps < 180

    class Stop(Exception):
        pass

    def stop_at(step: int):  # type: ignore[no-untyped-def]
        def observe(event: Event) -> None:
            if isinstance(event, StepDone) and event.step == step:
                raise Stop

        return observe

    out = tmp_path / "stopped"
    with pytest.raises(Stop):
        ravine.train(unlearnable, out=out, observers=[stop_at(decided.step - 3)], **settings)
    with pytest.raises(Stop):
        ravine.resume(out, observers=[stop_at(decided.step + 4)], show="none")
    again = ravine.resume(out, show="none")

    for name in ("model.safetensors", "best.safetensors"):
        assert (out / name).read_bytes() == (whole.path / name).read_bytes()
    assert again.recorded_plan == whole.recorded_plan
    assert again.result["best"] == whole.result["best"]


@pytest.mark.slow
def test_a_new_run_of_its_recipe_decides_for_itself(unlearnable: Path, tmp_path: Path) -> None:
    settings = {**_SMALL, "epochs": 20, "patience": 2}
    first = ravine.train(unlearnable, out=tmp_path / "first", **settings)
    assert first.recorded_plan.stop is not None
    again = ravine.train(
        recipe=first.path / "recipe.toml", patience=0, out=tmp_path / "again", show="none"
    )
    assert again.recorded_plan.stop is None
    assert again.epochs[-1]["epoch"] == 20


def test_patience_needs_validation_images_of_its_own(unlearnable: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="there are no validation images"):
        ravine.train(unlearnable, validation=0, patience=3, out=tmp_path / "no", **_SMALL)
    with pytest.raises(SettingError, match="a fold's validation images are its test"):
        ravine.train(unlearnable, folds=3, patience=3, out=tmp_path / "no", **_SMALL)
    assert not (tmp_path / "no").exists()
