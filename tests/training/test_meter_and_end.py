"""A run that was stopped anywhere reports what an undisturbed one does, and ends once."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ravine
from ravine.core.errors import RunError
from ravine.core.events import Event, StepDone
from ravine.runs.checkpoints import checkpoint_paths
from ravine.training.stop import Interrupted
from ravine.workflows import training_run

SETTINGS: dict[str, Any] = {
    "model": "wrn-10-1", "batch": 8, "epochs": 2, "device": "cpu", "threads": 1,
    "checkpoint_every": 0, "convolution": "guess", "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    chance = np.random.default_rng(0)
    labels = np.arange(48) % 2
    images = chance.integers(0, 100, (48, 8, 8, 1), dtype=np.uint8)
    images[labels == 1, ::2] += 100
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, images=images, labels=labels)
    return str(path)


@pytest.fixture(scope="module")
def whole(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        out = tmp_path_factory.mktemp("whole") / "run"
        patch.setenv("RAVINE_CACHE", str(out.with_name("cache")))
        patch.setattr("ravine.reports.page.render_report", lambda *_, **__: None)
        ravine.train(data, out=out, **SETTINGS)
    return out


def _epochs(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    clocks = ("elapsed", "images_per_second")
    return [{k: v for k, v in r.items() if k not in clocks} for r in rows if r["kind"] == "epoch"]


def _stopped(data: str, out: Path, step: int) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        ravine.train(data, out=out, observers=[stop], **SETTINGS)


@pytest.mark.parametrize("step", [1, 4, 7])
def test_the_means_of_an_epoch_are_those_of_all_of_it_after_a_stop(
    data: str, whole: Path, tmp_path: Path, step: int
) -> None:
    _stopped(data, tmp_path / "run", step)

    ravine.resume(tmp_path / "run")

    assert _epochs(tmp_path / "run") == _epochs(whole)
    weights = [(run / "model.safetensors").read_bytes() for run in (tmp_path / "run", whole)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("killed_in", ["report_undone_steps", "notice", "_write_times"])
def test_a_run_killed_while_it_ends_has_not_ended_and_loses_nothing(
    data: str, whole: Path, tmp_path: Path, killed_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_run, killed_in, die)
        with pytest.raises(KeyboardInterrupt):
            ravine.train(data, out=tmp_path / "run", **SETTINGS)
    assert not (tmp_path / "run" / "evaluation.json").exists()

    resumed = ravine.resume(tmp_path / "run")

    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert facts["seconds"]["training"] > 0
    assert resumed.result["accuracy"] == ravine.Run.load(whole).result["accuracy"]
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_report_of_before_the_end_is_written_again(data: str, tmp_path: Path) -> None:
    ravine.train(data, out=tmp_path / "run", **SETTINGS)
    report = tmp_path / "run" / "report.html"
    report.write_text("of before")
    evaluation = tmp_path / "run" / "evaluation.json"
    evaluation.write_bytes(evaluation.read_bytes())

    ravine.resume(tmp_path / "run")

    assert "of before" not in report.read_text()


@pytest.mark.parametrize(
    ("line", "by", "name"),
    [
        ("batch = 8", "batch = 4", "batch is 4, and the run began with 8"),
        ("weight_decay = ", "weight_decay = 1", "weight_decay"),
        ('augment = "', 'augment = "flip,', "augment"),
        ("total_steps = ", "total_steps = 9", "plan.total_steps"),
        ("ema = ", "ema = 0.9 #", "ema is 0.9, and the run began with 0.0"),
    ],
)
def test_a_recipe_that_was_edited_is_not_gone_on_with(
    data: str, tmp_path: Path, line: str, by: str, name: str
) -> None:
    _stopped(data, tmp_path / "run", 3)
    recipe = tmp_path / "run" / "recipe.toml"
    text = recipe.read_text()
    assert line in text
    recipe.write_text(text.replace(line, by, 1))

    with pytest.raises(RunError, match=name):
        ravine.resume(tmp_path / "run")


def test_what_does_not_change_the_training_may_be_edited(
    data: str, whole: Path, tmp_path: Path
) -> None:
    _stopped(data, tmp_path / "run", 3)
    recipe = tmp_path / "run" / "recipe.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace("monitor = 0.006", "monitor = 0.0"))
    assert recipe.read_text() != text

    ravine.resume(tmp_path / "run")

    weights = [(run / "model.safetensors").read_bytes() for run in (tmp_path / "run", whole)]
    assert weights[0] == weights[1]


def test_a_run_is_verified_from_inside_its_folder(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ravine.train(data, out=tmp_path / "run", **SETTINGS)
    monkeypatch.chdir(tmp_path / "run")

    assert ravine.verify(".").same
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert len(checkpoint_paths(Path("checkpoints"))) == 2
