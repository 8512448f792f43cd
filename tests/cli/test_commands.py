import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.setting_texts import setting_texts
from ravine.workflows.recipe import Recipe

Command = Callable[..., "object"]


def _paint(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 80, (8, 8, 3), dtype=np.uint8)
        pixels[::2] += 150
        Image.fromarray(pixels).save(folder / f"p{number}.png")
    return folder


def test_train_ends_with_the_paths_of_model_and_report(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        _paint(tmp_path / "data" / name, 10)
    said = ravine(
        "train", tmp_path / "data", "--model", "wrn-10-1", "--epochs", "1",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert said.code == 0
    *_, model, report, following = said.out.splitlines()
    assert model == f"model  {tmp_path / 'run' / 'model.safetensors'}"
    assert report == f"report {tmp_path / 'run' / 'report.html'}"
    assert following.startswith("next   ravine ")
    assert "images stand under different labels: " in said.out  # the two folders are the same
    assert "augmentation: crop; no flip" in said.out
    assert "epoch" in said.out


def test_json_prints_an_object_per_line_and_nothing_else(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        _paint(tmp_path / "data" / name, 10)
    said = ravine(
        "train", tmp_path / "data", "--model", "wrn-10-1", "--epochs", "1", "--json",
        "--out", tmp_path / "run",
    )  # fmt: skip
    kinds = [json.loads(line)["kind"] for line in said.out.splitlines()]
    assert {"start", "epoch", "checkpoint", "result"} <= set(kinds)
    assert kinds[-1] == "result"


def test_set_and_recipe_reach_every_setting(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        _paint(tmp_path / "data" / name, 10)
    first = tmp_path / "first"
    said = ravine(
        "train", tmp_path / "data", "--model", "wrn-10-1", "--epochs", "1", "--quiet",
        "--set", "label_smoothing=0.1", "--set", "weight-decay=0.01", "--no-skip", "--out", first,
    )  # fmt: skip
    assert said.code == 0
    again = ravine("train", "--recipe", first / "recipe.toml", "--out", tmp_path / "again", "-q")
    assert again.code == 0
    texts = [(tmp_path / run / "recipe.toml").read_text() for run in ("first", "again")]
    assert texts[0] == texts[1]
    assert "label_smoothing = 0.1" in texts[0]
    assert "weight_decay = 0.01" in texts[0]
    assert "skip = false" in texts[0]
    models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("first", "again")]
    assert models[0] == models[1]


@pytest.mark.parametrize(
    "options",
    [
        ["--lr", "auto"],
        ["--clip", "0.05", "--clip-by", "agc"],
        ["--clip", "1", "--optimizer", "nadam", "--schedule", "cosine", "--warmup", "0.1"],
        ["--init", "lsuv", "--norm", "none", "--activation", "tanh"],
        ["--balance", "sample", "--ema", "0.9", "--tta", "--cutmix", "1", "--augment", "erase"],
        ["--balance", "loss", "--optimizer", "adagrad", "--decay", "coupled", "--zero-init"],
    ],
    ids=" ".join,
)
def test_options_of_every_kind_train(ravine, tmp_path: Path, options: list[str]) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        _paint(tmp_path / "data" / name, 20)
    said = ravine(
        "train", tmp_path / "data", "--model", "wrn-10-1", "--epochs", "1", "--batch", "16",
        "--out", tmp_path / "run", *options,
    )  # fmt: skip
    assert said.code == 0, said.err
    recipe = (tmp_path / "run" / "recipe.toml").read_text()
    for name, value in zip(options[::2], options[1::2], strict=False):
        if value not in ("auto",) and not value.startswith("--"):
            assert f"{name.lstrip('-').replace('-', '_')} = " in recipe


def test_help_names_every_setting_with_its_text(ravine) -> None:  # type: ignore[no-untyped-def]
    os.environ["COLUMNS"] = "200"
    text = ravine("train", "--help", "all").out
    texts = setting_texts(Recipe)
    for name in Recipe.model_fields:
        if name != "data":
            assert f"--{name.replace('_', '-')}" in text
            assert texts[name], f"{name} has no text"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "wrn-17-4"], "nearest that work: 16 and 22"),
        (["--model", "resnte-18"], "did you mean 'resnet-18'"),
        (["--lr", "-1"], "lr"),
        (["--lr", "fast"], "lr"),
        (["--dropout", "1.5"], "dropout must be in [0, 1), got 1.5"),
        (["--epochs", "0"], "epochs: input should be greater than 0"),
        (["--budget", "soon"], "write for example 90s, 10min or 1.5h"),
        (["--set", "epochs"], "write --set key=value"),
        (["--set", "epoch=3"], "did you mean 'epochs'"),
        (["--epochs", "1", "--set", "epochs=2"], "epochs is given twice"),
        (["--device", "tpu9"], "device"),
        (["--recipe", "fats"], "did you mean 'fast'"),
        (["--recipe", "none.toml"], "no recipe none.toml"),
        (["--augment", "flipp"], "did you mean 'flip'"),
        (["--schedule", "cosinus"], "did you mean 'cosine'"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2_and_leaves_nothing(  # type: ignore[no-untyped-def]
    ravine, tmp_path: Path, arguments: list[str], message: str
) -> None:
    for name in "ab":
        _paint(tmp_path / "data" / name, 4)
    said = ravine("train", tmp_path / "data", "--out", tmp_path / "run", "--quiet", *arguments)
    assert said.code == 2
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("ravine: ")
    assert not (tmp_path / "run").exists()


def test_bad_data_and_a_run_that_exists_are_one_line_too(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    for arguments, message in (
        ([tmp_path / "empty"], "holds no images"),
        ([tmp_path / "none"], "no such path"),
        ([tmp_path / "empty", "--out", tmp_path / "taken"], "exists already"),
        ([], "no data is named"),
    ):
        said = ravine("train", *arguments, "--quiet", "--epochs", "1")
        # A command that does not fit into 200 letters stands on a line of its own.
        assert said.code == 2
        assert len(said.err.splitlines()) <= 2
        assert message in said.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        _paint(tmp_path / "data" / name, 4)
    (tmp_path / "shut").mkdir(mode=0o500)
    said = ravine("train", tmp_path / "data", "--out", tmp_path / "shut/run", "--epochs", "1", "-q")
    assert said.code == 2
    assert "choose another folder with --out" in said.err


def test_a_run_below_a_file_is_told(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        _paint(tmp_path / "data" / name, 4)
    (tmp_path / "file").write_text("")
    said = ravine("train", tmp_path / "data", "--out", tmp_path / "file/run", "--epochs", "1", "-q")
    assert said.code == 2
    assert "choose another" in said.err


def test_evaluate_prints_accuracy_with_interval_and_classes(ravine, trained: Path) -> None:  # type: ignore[no-untyped-def]
    said = ravine("evaluate", trained, trained.parent / "data", "--tta")
    assert said.code == 0
    assert "with test-time flip" in said.out
    assert "along “ü”" in said.out
    found = json.loads(ravine("evaluate", trained, trained.parent / "data", "--json").out)
    assert found["accuracy"] > 0.9
    assert found["count"] == 120


def test_predict_writes_a_csv_and_names_what_it_left_out(  # type: ignore[no-untyped-def]
    ravine, trained: Path, tmp_path: Path
) -> None:
    new = _paint(tmp_path / "new", 5)
    (new / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    said = ravine("predict", trained, new, "--out", tmp_path / "p.csv")
    assert said.code == 0
    assert "left out torn.jpg" in said.err
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"p{n}.png" for n in range(5)]
    for row in rows:
        assert row["class"] in ("across", "along “ü”")
        total = float(row["across"]) + float(row["along “ü”"])
        assert total == pytest.approx(1, abs=1e-4)


def test_predict_like_a_sample_keeps_its_form_and_names_a_missing_image(  # type: ignore[no-untyped-def]
    ravine, trained: Path, tmp_path: Path
) -> None:
    new = _paint(tmp_path / "new", 4)
    sample = tmp_path / "sample.csv"
    sample.write_text("id,label\np3,x\np0,x\n")
    said = ravine("predict", trained, new, "--like", sample, "--out", tmp_path / "s.csv")
    assert said.code == 0
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", "p3", "p0"]
    sample.write_text("id,label\np3,x\np9,x\n")
    said = ravine("predict", trained, new, "--like", sample, "--out", tmp_path / "t.csv")
    assert said.code == 2
    assert "'p9'" in said.err
    assert not (tmp_path / "t.csv").exists()


def test_resume_of_a_finished_run_says_so_and_verify_proves_it(ravine, trained: Path) -> None:  # type: ignore[no-untyped-def]
    said = ravine("resume", trained, "--verify")
    assert said.code == 0
    assert "has ended already" in said.out
    assert "bitwise the same weights" in said.out


def test_report_prints_its_path_and_models_lists_and_shows(ravine, trained: Path) -> None:  # type: ignore[no-untyped-def]
    assert ravine("report", trained).out.strip() == str(trained / "report.html")
    assert "wrn-D-K" in ravine("models").out
    shown = ravine("models", "wrn-16-4").out
    assert "2,748,890" in shown
    assert "3×3 convolution, stride 1" in shown


def test_a_model_file_that_was_tampered_with_is_told(ravine, trained: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    new = _paint(tmp_path / "new", 2)
    torn = tmp_path / "m.safetensors"
    shutil.copy(trained / "model.safetensors", torn)
    torn.write_bytes(torn.read_bytes()[:3000])
    said = ravine("predict", torn, new, "--out", tmp_path / "p.csv")
    assert said.code == 2
    assert "torn" in said.err


def test_run_is_the_newest_run_where_none_is_named(  # type: ignore[no-untyped-def]
    ravine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no run in runs" in ravine("report").err
    for age, name in enumerate(("new", "old")):
        shutil.copytree(trained, tmp_path / "runs" / name)
        os.utime(tmp_path / "runs" / name / "recipe.toml", (9e8 - age, 9e8 - age))

    for words in (["report"], ["report", "runs/latest"]):
        said = ravine(*words)
        assert (said.code, said.out) == (0, "runs/new/report.html\n")
        assert said.err == "run runs/new\n"
    assert "there is no unfinished run in runs" in ravine("resume").err
    (tmp_path / "runs" / "old" / "evaluation.json").unlink()
    said = ravine("resume")
    assert said.err.startswith("run runs/old\n")
    assert said.code == 0


def test_what_broke_a_run_stands_before_its_accuracy(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        _paint(tmp_path / "data" / name, 40)  # the same pictures under both labels
    said = ravine(
        "train", tmp_path / "data", "--model", "wrn-10-1", "--epochs", "2", "--lr", "300",
        "--batch", "8", "--out", tmp_path / "run",
    )  # fmt: skip
    lines = said.out.splitlines()
    accuracy = next(n for n, line in enumerate(lines) if line.startswith("accuracy "))
    verdict = [n for n, line in enumerate(lines) if line.startswith(("Broken: ", "No better"))]

    assert verdict
    assert verdict[0] < accuracy
    assert "; chance is 50 %" in lines[accuracy]
    page = (tmp_path / "run" / "report.html").read_text()
    headline = lines[verdict[0]].split(":")[0]
    assert page.index(headline) < page.index("images are classified correctly")
    assert "a longer run or a larger network may help" not in page
