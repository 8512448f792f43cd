"""What a race varies, and the code that its candidates name."""

from pathlib import Path

import numpy as np
import pytest

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.errors import CodeRefusedError, SettingError
from ravine.core.progress import no_progress
from ravine.ops.kernel_plan import guessed_plan
from ravine.training.network_choice import choose_batch
from ravine.workflows.network_defaults import batch_choice, with_model_defaults
from ravine.workflows.race import _axes
from ravine.workflows.race_images import prepared_for_jobs
from ravine.workflows.race_plan import RaceSpec, make_plan
from ravine.workflows.race_settings import RaceSettings
from ravine.workflows.race_worker.slots import JobSlots
from ravine.workflows.race_worker.timing import Timing
from ravine.workflows.recipe import Recipe


def test_an_axis_is_read_under_its_new_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert _axes(("adam",), {"bias_rate": ["1", "2"]}) == {
        "optimizer": ["adam"],
        "bias_lr_multiplier": ["1", "2"],
    }
    assert "bias_rate is now called bias_lr_multiplier" in capsys.readouterr().err


def test_code_that_cannot_be_imported_here_ends_a_race_before_its_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    race = RaceSettings.of({"candidates": {"adam": {}, "nadam": {}}, "epochs": 1})
    spec = RaceSpec(race=race, base={"model": "nowhere_to_be_found:net"})

    code = AllowedCode.of("nowhere_to_be_found:net")

    with pytest.raises(SettingError, match="nowhere_to_be_found"):
        spec.check_code(code, source=tmp_path / "race.json")
    with pytest.raises(CodeRefusedError, match="allow-code"):
        spec.check_code(NO_CODE, source=tmp_path / "race.json")


def test_the_first_trial_on_few_images_begins_at_the_learning_rate_of_a_run_alone() -> None:
    candidates = {"fresh": {}, "tuned": {"weights": "runs/a"}}
    race = RaceSettings.of({"candidates": candidates, "epochs": 10, "trials": 1})
    spec = RaceSpec(race=race, base={"model": "wrn-10-1"})
    timing = Timing(epoch=0.1, around=0.1, steps_per_epoch=10, normalised=True, images=162)

    plan = make_plan(
        spec,
        {group: [timing] for group in spec.groups()},
        JobSlots(count=1, threads=1),
        elapsed=0.0,
        kernels=guessed_plan((), "float32"),
    )

    batch = choose_batch(162, largest=128, epochs=10).batch
    alone = Recipe.of({"model": "wrn-10-1"}).default_lr(batch=batch)
    assert plan.graph.trials["fresh"][0]["lr"] == pytest.approx(alone)
    assert plan.graph.trials["tuned"][0]["lr"] == pytest.approx(alone / 10)


@pytest.mark.parametrize("images", [500, 20_000])
def test_the_first_trial_of_a_network_with_a_rate_of_its_own_takes_it(images: int) -> None:
    race = RaceSettings.of({"candidates": {"a": {}, "b": {}}, "epochs": 60, "trials": 1})
    spec = RaceSpec(race=race, base={"model": "swift-1"})
    timing = Timing(epoch=0.1, around=0.1, steps_per_epoch=10, normalised=True, images=images)

    plan = make_plan(
        spec,
        {group: [timing] for group in spec.groups()},
        JobSlots(count=1, threads=1),
        elapsed=0.0,
        kernels=guessed_plan((), "float32"),
    )

    recipe = Recipe.of({"model": "swift-1", "epochs": 60})
    alone, _ = with_model_defaults(recipe, batch_choice(recipe, images=images), several=False)
    assert plan.graph.trials["a"][0]["lr"] == pytest.approx(alone.lr)


@pytest.mark.parametrize(("views", "is_augmented"), [((1, 8), True), ((1, 0.5), False)])
def test_candidates_that_differ_in_their_views_are_shown_other_views(
    tmp_path: Path, views: tuple[float, float], *, is_augmented: bool
) -> None:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 255, (64, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(64) % 2)
    candidates = {f"views={v}": {"views": v} for v in views}
    race = RaceSettings.of({"candidates": candidates, "epochs": 1})
    base = {"data": str(tmp_path / "data.npz"), "freeze": "backbone", "weights": "runs/a"}

    spec = prepared_for_jobs(RaceSpec(race=race, base=base), lambda _: None, no_progress)

    assert (spec.base["augment"] != "none") == is_augmented
