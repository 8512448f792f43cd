import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ravine
from ravine.core.errors import DataError, RavineError, RunError, SettingError
from ravine.core.events import CheckpointSaved, Event, StepDone
from ravine.runs.checkpoints import checkpoint_paths
from ravine.runs.recipe_file import read_recipe

_SMALL = {"model": "wrn-10-1", "batch": 16, "device": "cpu", "checkpoint_every": 0.0}
_SMALL |= {"convolution": "guess"}  # measured plans may differ


class Stop(Exception):
    pass


def _until(step: int):  # type: ignore[no-untyped-def]
    def observe(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            raise Stop

    return observe


@pytest.mark.usefixtures("figures")
def test_a_run_learns_and_leaves_what_the_design_names(stripes: Path, tmp_path: Path) -> None:
    run = ravine.train(stripes, out=tmp_path / "run", epochs=6, **_SMALL)
    assert run.result["accuracy"] > 0.9
    for row in run.result["baselines"]:  # across or along shows in the pixels
        assert row["accuracy"] > 0.9
        assert row["count"] == run.result["count"]
        assert f"{row['name']} {100 * row['accuracy']:.1f} %" in (
            run.path / "report.html"
        ).read_text(encoding="utf-8")
    names = {path.name for path in run.path.iterdir()}
    assert names >= {
        "recipe.toml",
        "environment.json",
        "history.jsonl",
        "audit.json",
        "kernel_plan.json",
        "evaluation.json",
        "checkpoints",
        "model.safetensors",
        "report.html",
    }
    assert [row["kind"] for row in run.history].count("epoch") == 6
    assert (run.path / "report.html").read_text().count("<svg") >= 3
    settings, plan = read_recipe(run.path / "recipe.toml")
    assert plan is not None
    assert isinstance(settings["lr"], float)
    assert settings["augment"] == "crop"


@pytest.mark.parametrize("optimizer", ["nesterov", "nadam"])
def test_a_run_stopped_at_any_step_ends_bitwise_like_one_that_was_not(
    stripes: Path, tmp_path: Path, optimizer: str
) -> None:
    settings = {**_SMALL, "optimizer": optimizer, "dropout": 0.2, "mixup": 0.2, "ema": 0.9}
    whole = ravine.train(stripes, out=tmp_path / "whole", epochs=1.5, **settings)
    for step in (1, 7, 19):
        out = tmp_path / f"stopped-{step}"
        with pytest.raises(Stop):
            ravine.train(stripes, out=out, epochs=1.5, observers=[_until(step)], **settings)
        with pytest.raises(Stop):
            ravine.resume(out, observers=[_until(step + 1)])
        resumed = ravine.resume(out)
        same = (resumed.path / "model.safetensors").read_bytes()
        assert same == (whole.path / "model.safetensors").read_bytes()
        assert resumed.result["accuracy"] == whole.result["accuracy"]


def test_a_torn_checkpoint_falls_back_and_the_end_is_the_same(
    stripes: Path, tmp_path: Path
) -> None:
    whole = ravine.train(stripes, out=tmp_path / "whole", epochs=1, **_SMALL)
    with pytest.raises(Stop):
        ravine.train(stripes, out=tmp_path / "torn", epochs=1, observers=[_until(8)], **_SMALL)
    newest = checkpoint_paths(tmp_path / "torn/checkpoints")[-1] / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    told: list[Event] = []
    resumed = ravine.resume(tmp_path / "torn", observers=[told.append])
    assert any("falling back" in getattr(event, "text", "") for event in told)
    assert (resumed.path / "model.safetensors").read_bytes() == (
        whole.path / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_run_killed_by_the_system_is_resumed_bitwise(stripes: Path, tmp_path: Path) -> None:
    whole = ravine.train(stripes, out=tmp_path / "whole", epochs=2, **_SMALL)
    code = (
        "import os, signal, sys, ravine\n"
        "from ravine.core.events import StepDone\n"
        "def kill(event):\n"
        "    if isinstance(event, StepDone) and event.step == 9:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"ravine.train(sys.argv[1], out=sys.argv[2], epochs=2, observers=[kill], **{_SMALL})\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, stripes, tmp_path / "k"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "k/model.safetensors").exists()
    assert checkpoint_paths(tmp_path / "k/checkpoints")
    resumed = ravine.resume(tmp_path / "k")
    assert (resumed.path / "model.safetensors").read_bytes() == (
        whole.path / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_sigterm_saves_a_checkpoint_and_says_how_to_go_on(stripes: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ravine", "train", str(stripes), "--out", str(tmp_path / "k")]
    command += ["--epochs", "500", "--model", "wrn-10-1", "--batch", "16", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["kind"] == "epoch":
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"go on with: ravine resume {tmp_path / 'k'}" in errors.replace("\n", " ")
    assert len(checkpoint_paths(tmp_path / "k/checkpoints")) == 1


def test_verify_proves_it_on_a_copy_and_sees_a_difference(stripes: Path, tmp_path: Path) -> None:
    run = ravine.train(stripes, out=tmp_path / "run", epochs=1, **_SMALL)
    found = ravine.verify(run.path)
    assert found.same
    assert 0 < found.from_step < found.total_steps
    assert ravine.verify(run.path, from_start=True).same
    model = run.path / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(bytes(content))
    assert not ravine.verify(run.path).same
    assert not list(tmp_path.glob(".verify-*"))


def test_watching_a_run_does_not_change_it(stripes: Path, tmp_path: Path) -> None:
    seen: list[Event] = []
    alone = ravine.train(stripes, out=tmp_path / "a", epochs=0.5, **_SMALL)
    watched = ravine.train(
        stripes, out=tmp_path / "b", epochs=0.5, observers=[seen.append, print], **_SMALL
    )
    assert any(isinstance(event, CheckpointSaved) for event in seen)
    assert (alone.path / "model.safetensors").read_bytes() == (
        watched.path / "model.safetensors"
    ).read_bytes()


def test_training_leaves_the_callers_random_state_and_threads_alone(
    stripes: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    ravine.train(stripes, out=tmp_path / "a", epochs=0.1, threads=2, **_SMALL)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_a_recipe_repeats_a_run_bitwise_even_one_with_a_budget(
    stripes: Path, tmp_path: Path
) -> None:
    settings = {**_SMALL, "convolution": "auto"}
    first = ravine.train(stripes, out=tmp_path / "a", budget=4, **settings)
    again = ravine.train(out=tmp_path / "b", recipe=str(first.path / "recipe.toml"))
    assert (first.path / "model.safetensors").read_bytes() == (
        again.path / "model.safetensors"
    ).read_bytes()


def test_changed_data_is_refused_on_resume(stripes: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        ravine.train(stripes, out=tmp_path / "a", epochs=1, observers=[_until(3)], **_SMALL)
    with np.load(stripes) as file:
        images, labels = file["images"].copy(), file["labels"]
    images[0] = 0
    np.savez(stripes, images=images, labels=labels)
    with pytest.raises(RunError, match="the data is not what the run began with"):
        ravine.resume(tmp_path / "a")


def test_a_diverging_run_is_stopped_in_one_line_and_its_weights_are_finite(
    stripes: Path, tmp_path: Path
) -> None:
    (tmp_path / "diverging.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(64, 3)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.flatten(1)) * float('nan')\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(RavineError, match="training diverged: the last 100 steps"):
            ravine.train(
                stripes, out=tmp_path / "a", epochs=20, **{**_SMALL, "model": "diverging:Net"}
            )
    finally:
        sys.path.remove(str(tmp_path))


def test_the_model_file_alone_is_enough_to_predict(stripes: Path, tmp_path: Path) -> None:
    from PIL import Image

    run = ravine.train(stripes, out=tmp_path / "run", epochs=6, **_SMALL)
    alone = tmp_path / "elsewhere" / "m.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((run.path / "model.safetensors").read_bytes())
    with np.load(stripes) as file:
        images, labels = file["images"], file["labels"]
    folder = tmp_path / "new"
    folder.mkdir()
    for place in range(30):
        Image.fromarray(images[place]).save(folder / f"{place:03d}.png")
    (folder / "broken.png").write_bytes(b"no image")
    found = ravine.Run.load(alone).predict(folder)
    assert list(found.names) == [f"{place:03d}.png" for place in range(30)]
    assert [name for name, _ in found.unreadable] == ["broken.png"]
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)
    right = [label == str(true) for label, true in zip(found.labels, labels, strict=False)]
    assert sum(right) >= 27
    one = ravine.Run.load(run.path).predict(folder / "007.png")
    np.testing.assert_allclose(one.probabilities[0], found.probabilities[7], atol=1e-3)  # bfloat16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "wrn-17-4"}, "nearest that work: 16 and 22"),
        ({"model": "wrm-16-4"}, "did you mean 'wrn-16-4'"),
        ({"lr": -1}, "lr"),
        ({"dropout": 1.5}, r"dropout must be in \[0, 1\), got 1.5"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"epochs": 1, "budget": "1min"}, "exclude each other"),
        ({"image_sizes": 3}, "did you mean 'image_size'"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_written(
    stripes: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        ravine.train(stripes, out=tmp_path / "a", **{**_SMALL, "epochs": 1, **settings})
    assert not (tmp_path / "a").exists()


def test_a_run_that_exists_is_refused_before_the_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match="exists already"):
        ravine.train(tmp_path / "no data", out=tmp_path / "a", epochs=1)


def test_an_empty_folder_leaves_no_run_behind(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        ravine.train(tmp_path / "data", out=tmp_path / "a", epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
