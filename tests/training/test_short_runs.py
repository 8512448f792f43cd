"""Runs of few steps: batch norm's statistics are measured, and training does not notice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ravine
from ravine.core.errors import SettingError
from ravine.core.events import Event, Notice
from ravine.data.batches import evaluation_batches
from ravine.data.opening import open_dataset
from ravine.runs.checkpoints import checkpoint_paths
from ravine.runs.recipe_file import read_recipe
from ravine.training.measured_statistics import SHORT, resolve_statistics
from ravine.training.plan import plan_for_epochs
from ravine.workflows.recipe import Recipe

pytestmark = pytest.mark.slow  # many seconds

_SMALL = {"model": "wrn-10-1", "device": "cpu", "precision": "float32", "epochs": 2}
_SMALL |= {"convolution": "guess"}  # measured plans may differ


def told_of(settings: dict[str, object], data: Path, out: Path) -> tuple[ravine.Run, list[str]]:
    told: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.text)

    return ravine.train(data, out=out, observers=[hear], **settings), told


def test_a_short_run_measures_says_so_and_writes_it_down(stripes: Path, tmp_path: Path) -> None:
    run, told = told_of(_SMALL, stripes, tmp_path / "run")
    lines = [text for text in told if "batch norm's statistics are measured" in text]
    assert len(lines) == 1
    assert "before each evaluation and at the end" in lines[0]
    settings, _ = read_recipe(run.path / "recipe.toml")
    assert settings["norm_statistics"] == "measured"
    last = [row for row in run.history if row["kind"] == "epoch"][-1]
    assert last["accuracy"] == run.result["accuracy"]
    assert last["loss"] == pytest.approx(run.result["loss"], abs=1e-6)


@pytest.mark.slow
def test_the_saved_statistics_are_those_of_the_saved_weights(stripes: Path, tmp_path: Path) -> None:
    run = ravine.train(stripes, out=tmp_path / "run", **_SMALL)
    settings, _ = read_recipe(run.path / "recipe.toml")
    recipe = Recipe.of(settings)
    dataset = open_dataset(recipe, seed=recipe.seed)
    index = dataset.splits["train"]
    (batch,) = evaluation_batches(
        dataset.images,
        index,
        preprocessing=dataset.preprocessing,
        batch=len(index),
        device=torch.device("cpu"),
    )
    network = run.model.double()
    first = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(batch.images.double())
    values = seen[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(first.running_mean, values.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var, values.var(1, correction=1), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_training_is_bitwise_the_same_with_measurements_and_without(
    stripes: Path, tmp_path: Path, ema: float
) -> None:
    states = []
    for statistics in ("running", "measured"):
        out = tmp_path / statistics
        run = ravine.train(stripes, out=out, norm_statistics=statistics, ema=ema, **_SMALL)
        states.append(
            load_file(checkpoint_paths(run.path / "checkpoints")[-1] / "state.safetensors")
        )
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    models = [load_file(tmp_path / name / "model.safetensors") for name in ("running", "measured")]
    moved = {name for name in models[0] if not torch.equal(models[0][name], models[1][name])}
    assert moved
    assert all("running_" in name for name in moved)


def test_a_short_run_resumes_bitwise(stripes: Path, tmp_path: Path) -> None:
    run = ravine.train(
        stripes, out=tmp_path / "run", checkpoint_every=0.0, ema=0.9, dropout=0.2, **_SMALL
    )
    assert ravine.verify(run.path).same
    assert ravine.verify(run.path, from_start=True).same


def test_long_runs_and_networks_without_batch_norm_keep_the_running_statistics() -> None:
    plain = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    normed = torch.nn.Sequential(torch.nn.BatchNorm2d(1))
    short, long = (plan_for_epochs(1, steps_per_epoch=n) for n in (SHORT - 1, SHORT))
    assert resolve_statistics("auto", normed, short) == "measured"
    assert resolve_statistics("auto", normed, long) == "running"
    assert resolve_statistics("measured", normed, long) == "measured"
    assert resolve_statistics("running", normed, short) == "running"
    assert resolve_statistics("measured", plain, short) == "running"


def test_an_unknown_way_is_refused_in_one_line() -> None:
    with pytest.raises(SettingError, match="norm_statistics"):
        Recipe.of({"norm_statistics": "precise"})


def test_a_budget_pays_for_the_measurements(stripes: Path, tmp_path: Path) -> None:
    run = ravine.train(stripes, out=tmp_path / "run", budget=6.0, model="wrn-10-1", device="cpu")
    _, plan = read_recipe(run.path / "recipe.toml")
    settings, _ = read_recipe(run.path / "recipe.toml")
    assert plan is not None
    assert plan["speed"]["statistics"] > 0
    assert (settings["norm_statistics"] == "measured") == (plan["total_steps"] < SHORT)


@pytest.mark.slow
def test_a_handful_of_pictures_is_learnt_by_the_defaults(tmp_path: Path) -> None:
    """60 training images in ten epochs: 33 % and a loss of 1e4 before statistics were measured."""
    chance = np.random.default_rng(0)
    labels = np.arange(75) % 3
    pictures = chance.integers(0, 60, (75, 16, 16)) + 80 * labels[:, None, None]
    np.savez(tmp_path / "few.npz", images=pictures.astype(np.uint8), labels=labels)
    for model in ("wrn-16-1", "swift-1"):
        run = ravine.train(
            tmp_path / "few.npz", out=tmp_path / model, epochs=10, model=model, convolution="guess"
        )
        assert run.result["accuracy"] > 0.9, model
        assert run.result["loss"] < 0.5, model
