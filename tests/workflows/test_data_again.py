"""A run's data after training: moved, named by other columns, or already trained on."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ravine
from ravine.core.errors import DataError, RunError
from ravine.runs.folder import RunFolder
from ravine.workflows.data_paths import located
from ravine.workflows.diagnose import diagnose_run
from ravine.workflows.predict import predict_file
from ravine.workflows.predict_options import FormOptions
from ravine.workflows.recipe import Recipe

SETTINGS = {"model": "wrn-10-1", "epochs": 2, "batch": 8, "threads": 1, "convolution": "guess"}


def paint(folder: Path, count: int, seed: int = 0) -> Path:
    """Draws pictures 0.png … of stripes, even ones across and odd ones along; no two are equal."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(0, 150, (8, 8, 3)).astype(np.uint8)
        rows = pixels if number % 2 == 0 else pixels.transpose(1, 0, 2)
        rows[::2] += 100
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def table(path: Path, head: str, numbers: range, names: tuple[str, str]) -> Path:
    lines = [head, *(f"{n}.png,{names[n % 2]}" for n in numbers)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("again")
    paint(home / "a/images", 24)
    table(home / "a/train.csv", "id_code,diagnosis", range(24), ("00016", "00007"))
    paint(home / "test", 6, seed=1)
    table(home / "test/test.csv", "id_code,diagnosis", range(6), ("16", "7"))
    return home


@pytest.fixture(scope="module")
def run(home: Path, own_cache: None) -> ravine.Run:
    before = Path.cwd()
    os.chdir(home / "a")  # the paths are typed from here
    try:
        return ravine.Run.load(
            home
            / "a"
            / ravine.train(
                "images",
                labels="train.csv",
                image_column="id_code",
                label_column="diagnosis",
                out="run",
                checkpoint_every=1,
                **SETTINGS,
            ).path
        )
    finally:
        os.chdir(before)


def stopped(run: ravine.Run, copy: Path) -> Path:
    """Returns a copy of a run, as it is after a kill before its first checkpoint."""
    shutil.copytree(run.path, copy)
    for name in ("evaluation.json", "model.safetensors"):
        (copy / name).unlink()
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints").mkdir()
    return copy


def test_columns_of_the_training_are_found_again_and_16_is_00016(
    run: ravine.Run, home: Path
) -> None:
    found = run.evaluate(home / "test", labels=str(home / "test/test.csv"))
    assert found["classes"] == ["00007", "00016"]
    assert np.sum(found["confusion"], axis=1).tolist() == [3, 3]
    assert run.predict(home / "test/test.csv").names == [f"{n}.png" for n in range(6)]


def test_other_columns_are_found_by_their_options(run: ravine.Run, home: Path) -> None:
    other = home / "test/other.csv"
    rows = [f"{(n + 2) % 6}.png,{n}.png,{('16', '7')[n % 2]}" for n in range(6)]
    other.write_text("\n".join(["near,shot,truth", *rows]))
    with pytest.raises(DataError, match="--image-column"):
        run.evaluate(home / "test", labels=str(other))
    found = run.evaluate(
        home / "test", labels=str(other), image_column="shot", label_column="truth"
    )
    assert found["count"] == 6
    assert len(run.predict(other, image_column="shot").names) == 6


def test_images_that_were_trained_on_are_counted_and_left_out(run: ravine.Run, home: Path) -> None:
    labels = str(home / "a/train.csv")
    found = run.evaluate(home / "a/images", labels=labels)
    audit = json.loads((run.path / "audit.json").read_text())
    train = sum(row["counts"]["train"] for row in audit["classes"])
    assert (found["count"], found["trained_on"]) == (24, train)
    outside = run.evaluate(home / "a/images", labels=labels, held_out=True)
    assert (outside["count"], outside["trained_on"]) == (24 - train, 0)
    assert outside["accuracy"] == run.result["accuracy"]
    new = run.evaluate(home / "test", labels=str(home / "test/test.csv"))
    assert new["trained_on"] == 0


def test_a_run_without_the_list_of_its_images_says_so(run: ravine.Run, home: Path) -> None:
    copy = home / "old"
    shutil.copytree(run.path, copy)
    (copy / "trained_images.npy").unlink()
    labels = str(home / "a/train.csv")
    old = ravine.Run.load(copy)
    assert old.evaluate(home / "a/images", labels=labels)["trained_on"] is None
    with pytest.raises(RunError, match="leave out --held-out"):
        old.evaluate(home / "a/images", labels=labels, held_out=True)


def test_a_network_with_weights_that_are_nan_predicts_nothing(run: ravine.Run, home: Path) -> None:
    copy = home / "nan"
    shutil.copytree(run.path, copy)
    file = copy / "model.safetensors"
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    tensors = load_file(file)
    name = next(n for n, t in tensors.items() if t.is_floating_point())
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, file, metadata=about)
    for attempt in (
        lambda: ravine.Run.load(copy).predict(home / "test"),
        lambda: predict_file(copy, [str(home / "test")], out=home / "nan.csv"),
    ):
        with pytest.raises(
            RunError, match=rf"{name} is not finite, so the network predicts nothing"
        ):
            attempt()
    assert not (home / "nan.csv").exists()


def test_a_torn_test_image_gets_the_training_shares_on_request(run: ravine.Run, home: Path) -> None:
    images = paint(home / "torn", 3, seed=2)
    whole = (images / "2.png").read_bytes()
    (images / "2.png").write_bytes(whole[:40])
    sample = home / "sample.csv"
    sample.write_text("id,00016,00007\n2,0,0\n0,0,0\n1,0,0\n")
    with pytest.raises(DataError, match="1 of 3 ids: '2'"):
        predict_file(run.path, [str(images)], out=home / "o.csv", like=sample)
    done = predict_file(
        run.path, [str(images)], out=home / "o.csv", like=sample, form=FormOptions(missing="prior")
    )
    assert list(done.answered_by_prior) == ["2"]
    rows = (home / "o.csv").read_text().splitlines()
    audit = json.loads((run.path / "audit.json").read_text())
    counts = {row["name"]: row["counts"]["train"] for row in audit["classes"]}
    share = counts["00016"] / sum(counts.values())
    assert [float(value) for value in rows[1].split(",")[1:]] == pytest.approx([share, 1 - share])
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "0", "1"]


@pytest.mark.parametrize(
    ("missing", "positive", "told"),
    [
        ("skip", None, "takes refuse or prior"),
        ("prior", None, "--missing prior has no effect without --like"),
        ("refuse", "cat", "--positive has no effect without --like"),
    ],
)
def test_options_of_a_sample_need_one(missing: str, positive: str | None, told: str) -> None:
    with pytest.raises(ravine.core.errors.SettingError, match=told):
        FormOptions(missing=missing, positive=positive).check(None)


def test_a_run_goes_on_from_any_folder_and_ends_with_the_same_weights(
    run: ravine.Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = stopped(run, home / "elsewhere/run")
    monkeypatch.chdir(home / "elsewhere")
    ravine.resume(copy)
    assert (copy / "model.safetensors").read_bytes() == (
        run.path / "model.safetensors"
    ).read_bytes()
    assert 'data = "images"' in (copy / "recipe.toml").read_text()


def test_moved_data_is_named_checked_and_kept(
    run: ravine.Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = stopped(run, home / "moved-run")
    facts = json.loads((copy / "environment.json").read_text())
    facts["paths"] = {name: f"/gone/{Path(p).name}" for name, p in facts["paths"].items()}
    (copy / "environment.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match=r"its data is not at /gone/images any more; .*--data NEW"):
        ravine.resume(copy)
    with pytest.raises(RunError, match="--data nowhere: no such path"):
        ravine.resume(copy, data="nowhere")
    shutil.copytree(home / "a", home / "b")
    monkeypatch.chdir(home / "b")  # train.csv is found from here, as it was typed
    Image.new("RGB", (8, 8)).save(home / "b/images/5.png")
    with pytest.raises(RunError, match="the data is not what the run began with"):
        ravine.resume(copy, data=home / "b/images")
    assert json.loads((copy / "environment.json").read_text()) == facts
    shutil.copy(home / "a/images/5.png", home / "b/images/5.png")
    ravine.resume(copy, data=home / "b/images")
    assert (copy / "model.safetensors").read_bytes() == (
        run.path / "model.safetensors"
    ).read_bytes()
    kept = json.loads((copy / "environment.json").read_text())["paths"]
    assert kept["data"] == str(home / "b/images")


def test_a_diagnosis_of_moved_data_checks_it(run: ravine.Run, home: Path) -> None:
    other = home / "c"
    shutil.copytree(home / "a/images", other)
    Image.new("RGB", (8, 8)).save(other / "3.png")
    with pytest.raises(RunError, match="the data is not what the run began with"):
        diagnose_run(run.path, data=other)


def test_a_run_of_before_is_resumed_by_the_path_as_typed(
    run: ravine.Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = stopped(run, home / "before")
    facts = json.loads((copy / "environment.json").read_text())
    del facts["paths"]
    (copy / "environment.json").write_text(json.dumps(facts))
    monkeypatch.chdir(home / "a")
    ravine.resume(copy)
    assert (copy / "model.safetensors").read_bytes() == (
        run.path / "model.safetensors"
    ).read_bytes()


def test_a_run_from_before_fit_cut_out_the_middle(tmp_path: Path) -> None:
    before = Recipe.of({"data": "@fashion"})
    chosen = Recipe.of({"data": "@fashion", "fit": "pad"})

    assert located(before, RunFolder(tmp_path)).fit == "crop"
    assert located(chosen, RunFolder(tmp_path)).fit == "pad"
