"""Small images first: what steps see, how a budget is planned over them, when they are chosen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.training.hand_clock import HandClock

import ravine
import ravine.training.loop as loop
from ravine.core.errors import SettingError
from ravine.data.batches import Batch
from ravine.data.dataset import Dataset, Preprocessing
from ravine.training.budget import Budget, plan_for_budget
from ravine.training.plan import Plan, Speed
from ravine.training.progressive_resizing import SmallImages
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session
from ravine.workflows.small_images import with_small_size


def test_small_images_are_those_of_pillow() -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, dtype=torch.int64)
    batch = Batch(images=images, targets=labels, labels=labels)
    small = SmallImages(size=20, share=0.5).resized(batch).images
    assert small.is_contiguous(memory_format=torch.channels_last)
    for one, mine in zip(images.reshape(6, 32, 32), small.reshape(6, 20, 20), strict=True):
        theirs = Image.fromarray(one.numpy(), mode="F").resize((20, 20), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(mine.numpy(), np.asarray(theirs), atol=1e-5)


shares = st.floats(0.05, 0.95)
speeds = st.builds(
    Speed,
    step=st.floats(0.05, 2),
    validation=st.floats(0, 5),
    final=st.floats(0, 10),
    small_step=st.floats(0.02, 1.5),
    small_share=shares,
)


@given(speeds, st.floats(0, 0.99), st.floats(0, 1))
def test_the_mean_step_is_that_of_the_steps_one_by_one(
    speed: Speed, start: float, part: float
) -> None:
    end = start + max(0.005, part * (1 - start))
    each = start + (np.arange(40_000) + 0.5) / 40_000 * (end - start)
    one_by_one = np.where(each < speed.small_share, speed.small_step, speed.step).mean()
    assert speed.step_between(start, end) == pytest.approx(one_by_one, rel=2e-3, abs=1e-3)


@given(st.floats(60, 2000), speeds, st.integers(1, 2000))
def test_a_run_of_two_speeds_ends_within_its_budget(
    seconds: float, speed: Speed, epoch: int
) -> None:
    plan = plan_for_budget(seconds, speed, steps_per_epoch=epoch)
    taken = speed.final
    for step in range(plan.total_steps):
        taken += speed.small_step if plan.progress(step) < speed.small_share else speed.step
        taken += speed.validation if plan.evaluates_after(step + 1) else 0.0
    slack = max(speed.step, speed.small_step)
    assert taken <= seconds + slack or plan.total_steps == 1
    assert plan.total_steps == 1 or taken >= 0.975 * seconds - 2 * slack - speed.validation


@settings(max_examples=40)
@given(st.floats(100, 600), st.floats(0.05, 0.4), st.floats(0.6, 2.0), shares, st.floats(0.0, 0.8))
def test_corrections_know_which_steps_are_still_small(
    seconds: float, step: float, slower: float, share: float, since: float
) -> None:
    """The same change of speed moves the end as in a run whose steps are all alike."""
    speed = Speed(step=step, validation=0.0, final=3.0, small_step=0.55 * step, small_share=share)
    plan = plan_for_budget(seconds, speed, steps_per_epoch=10**6)
    clock = HandClock()
    budget, done, lately = Budget(seconds=seconds, clock=clock), 0, list[float]()
    while done < plan.end:
        factor = slower if clock.before >= since * seconds else 1.0
        small = plan.progress(done) < share
        lately.append(factor * (speed.small_step if small else step))
        clock.before += lately[-1]
        done += 1
        if budget.is_time_to_check(plan, done):
            plan = budget.corrected(plan, done, sum(lately) / len(lately), over=len(lately))
            lately = []
    total = clock.before + 3.0
    assert 0.94 * seconds - 4 * step * slower <= total <= 1.01 * seconds + 2 * step * slower + 1.2
    if slower == 1.0:
        assert not plan.corrections


def test_no_correction_follows_from_the_change_of_size_alone() -> None:
    speed = Speed(step=0.2, validation=0.0, final=3.0, small_step=0.1, small_share=0.6)
    plan = plan_for_budget(300.0, speed, steps_per_epoch=10**6)
    for done, over in ((400, 100), (int(0.6 * plan.end) + 30, 90), (plan.end - 100, 50)):
        seconds = [0.1 if plan.progress(k) < 0.6 else 0.2 for k in range(plan.end)]
        budget = Budget(seconds=300.0, clock=HandClock(before=sum(seconds[:done]) + 3.0))
        mean = sum(seconds[done - over : done]) / over
        assert budget.corrected(plan, done, mean, over=over) is plan


def dataset(size: int) -> Dataset:
    return Dataset(
        images=np.zeros((4, size, size, 1), np.uint8),
        labels=np.array([0, 1, 0, 1]),
        classes=("cat", "dog"),
        splits={"train": np.arange(4)},
        names=list("abcd"),
        preprocessing=Preprocessing(image_size=size, channels=1, mean=(0.5,), std=(0.2,)),
        audit={},
        fingerprint="",
    )


@pytest.mark.parametrize(
    ("given_settings", "passes", "size", "wanted"),
    [
        ({"budget": 60.0}, 3.0, 32, 20),
        ({"budget": 60.0}, 14.0, 28, 20),
        ({"budget": 60.0}, 16.0, 32, 0),
        ({"budget": 10.0}, 3.0, 32, 0),
        ({"budget": 60.0}, 3.0, 16, 0),
        ({"budget": 60.0, "model": "wrn-16-4"}, 3.0, 32, 0),
        ({"budget": 60.0, "compile": True}, 3.0, 32, 0),
        ({"budget": 60.0, "weights": "runs/other"}, 3.0, 32, 0),
        ({"epochs": 3.0}, 3.0, 32, 0),
        ({"epochs": 3.0, "small_size": 16}, 3.0, 32, 16),
        ({"budget": 60.0, "small_size": 0}, 3.0, 32, 0),
    ],
)
def test_small_images_come_first_in_budgets_of_few_passes(
    given_settings: dict[str, Any], passes: float, size: int, wanted: int
) -> None:
    told: list[str] = []
    session = Session(observers=[lambda event: told.append(str(event))])
    recipe = Recipe.of({"model": "swift-1", **given_settings})
    found = with_small_size(recipe, dataset(size), session, lambda: passes)
    assert found.small_size == wanted
    chosen = wanted and "small_size" not in given_settings
    assert any(f"{wanted}×{wanted}" in line for line in told) == bool(chosen)


@pytest.mark.parametrize("size", [1, 13, 32, 40])
def test_images_that_are_not_smaller_are_refused_with_a_size_that_would_do(size: int) -> None:
    recipe = Recipe.of({"model": "swift-1", "epochs": 1.0, "small_size": size})
    with pytest.raises(SettingError, match=f"small_size {size}: .* 32×32; .* such as 20"):
        with_small_size(recipe, dataset(32), Session(), lambda: 1.0)


@pytest.mark.parametrize(
    ("full", "remedy"),
    [(18, "take 14 to 17 pixels, such as 14, or 0"), (14, "swift-1 takes none smaller; 0")],
)
def test_of_few_pixels_the_size_that_would_do_is_one_that_is_taken(full: int, remedy: str) -> None:
    recipe = Recipe.of({"model": "swift-1", "epochs": 1.0, "small_size": 5})
    with pytest.raises(SettingError, match=remedy):
        with_small_size(recipe, dataset(full), Session(), lambda: 1.0)


def test_a_head_on_features_has_no_small_images() -> None:
    settings = {"weights": "runs/other", "freeze": "backbone", "small_size": 20, "epochs": 1.0}
    with pytest.raises(SettingError, match="a frozen backbone passes each image once"):
        with_small_size(Recipe.of(settings), dataset(32), Session(), lambda: 1.0)


_RUN = {"model": "wrn-10-1", "batch": 16, "device": "cpu", "convolution": "guess", "epochs": 1.5}


def test_the_first_steps_see_small_images_and_a_resumed_run_sees_the_same(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    taken = loop.train_step

    def watched(state: Any, forward: Any, batch: Batch, **kwargs: Any) -> Any:
        sizes.append(batch.images.shape[-1])
        if stop and len(sizes) == stop:
            raise KeyError("stopped")
        return taken(state, forward, batch, **kwargs)

    monkeypatch.setattr(loop, "train_step", watched)
    settings = {**_RUN, "small_size": 6, "small_share": 0.5, "checkpoint_every": 0.0}
    stop = 0
    whole = ravine.train(stripes, out=tmp_path / "whole", **settings)
    seen, count = sizes[:], len(sizes)
    assert seen == [6] * -(-count // 2) + [seen[-1]] * (count // 2)
    assert seen[-1] == 8
    facts = whole.path.joinpath("recipe.toml").read_text()
    assert 'norm_statistics = "measured"' in facts

    sizes, stop = [], count // 2 + 2
    with pytest.raises(KeyError, match="stopped"):
        ravine.train(stripes, out=tmp_path / "stopped", **settings)
    sizes, stop = [], 0
    resumed = ravine.resume(tmp_path / "stopped")
    same = (resumed.path / "model.safetensors").read_bytes()
    assert same == (whole.path / "model.safetensors").read_bytes()
    assert set(sizes) == {seen[-1]}


def test_a_budget_of_two_speeds_is_written_and_read_again() -> None:
    speed = Speed(step=0.2, validation=1.0, final=3.0, small_step=0.1, small_share=0.6)
    plan = Plan(total_steps=100, steps_per_epoch=20, speed=speed)
    assert Plan.from_values(plan.to_values()) == plan
    values = replace(plan, speed=replace(speed, small_step=0.0)).to_values()
    with pytest.raises(ravine.RavineError):
        Plan.from_values(values)
