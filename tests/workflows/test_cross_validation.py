"""A cross-validated run: its result, its mean, and going on after a kill."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ravine
from ravine.core.errors import RunError, SettingError
from ravine.core.wilson_interval import wilson_interval
from ravine.reports.page import render_report
from ravine.workflows.cross_validation import fold_recipe, pooled_evaluation
from ravine.workflows.diagnose import diagnose_run
from ravine.workflows.recipe import Recipe

SETTINGS = {
    "model": "wrn-10-1",
    "epochs": 1,
    "batch": 8,
    "threads": 1,
    "convolution": "guess",
    "image_size": 8,
}


def paint(folder: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Draws noisy stripes across and along, so noisy that some are taken for the other kind."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 200, (8, 12, 3)).astype(np.uint8)
            rows = pixels if name.endswith("across") else pixels.transpose(1, 0, 2)
            rows[::2] += 55
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def run(folder: Path, own_cache: None) -> ravine.Run:
    counts = {"train/across": 15, "train/along": 14, "test/across": 6, "test/along": 6}
    data = paint(folder / "data", counts)
    return ravine.train(data, out=folder / "run", folds=3, **SETTINGS)


def test_the_result_counts_each_image_once_by_the_network_that_did_not_train_on_it(
    run: ravine.Run, folder: Path
) -> None:
    hits, seen = 0, []
    for number in (1, 2, 3):
        fold = ravine.Run.load(run.path / f"fold-{number}")
        names = trained_names(fold, folder)
        outside = [p for p in (folder / "data/train").rglob("*.png") if p not in names]
        found = fold.predict(sorted(outside))
        hits += sum(
            label == path.parent.name
            for label, path in zip(found.labels, sorted(outside), strict=True)
        )
        seen += outside
    assert sorted(seen) == sorted((folder / "data/train").rglob("*.png"))
    result = run.result
    assert (result["count"], result["accuracy"]) == (29, hits / 29)
    assert result["interval"] == pytest.approx(wilson_interval(hits, 29))
    assert np.sum(result["confusion"]) == 29
    assert sorted(one["count"] for one in result["folds"]) == [9, 10, 10]
    own = [ravine.Run.load(run.path / f"fold-{n}").result["baselines"] for n in (1, 2, 3)]
    for row, *of_folds in zip(result["baselines"], *own, strict=True):
        known = sum(one["accuracy"] * one["count"] for one in of_folds)
        assert (row["count"], row["accuracy"]) == (29, pytest.approx(known / 29))


def test_the_report_is_of_all_folds_and_leads_to_each(run: ravine.Run) -> None:
    text = (run.path / "report.html").read_text()

    assert f"{100 * run.result['accuracy']:.2f} %</span> of 29 images" in text
    assert f"{100 * run.result['test']['accuracy']:.2f} %" in text
    assert "standard deviation" in text
    for number in (1, 2, 3):
        assert f'href="fold-{number}/report.html"' in text
        assert (run.path / f"fold-{number}" / "report.html").is_file()


def test_a_report_before_the_end_says_how_many_folds_have_ended(
    run: ravine.Run, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "begun")
    (tmp_path / "begun" / "evaluation.json").unlink()
    shutil.rmtree(tmp_path / "begun" / "fold-3")

    text = render_report(tmp_path / "begun").read_text()

    assert "2 of 3 folds have ended" in text
    assert "not begun" in text
    assert "standard deviation" not in text


def trained_names(fold: ravine.Run, folder: Path) -> set[Path]:
    """Returns the files whose pixels are in a fold's list of images that it was trained on."""
    known = set(np.load(fold.path / "trained_images.npy").tolist())
    found = set()
    for path in (folder / "data/train").rglob("*.png"):
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        content = str(pixels.shape).encode() + pixels.tobytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if int.from_bytes(digest[:8], "little") in known:
            found.add(path)
    assert len(found) == len(known)
    return found


def test_the_folds_see_whole_pictures_as_a_run_alone_does(run: ravine.Run) -> None:
    # A third of each picture's area is outside of its middle.
    assert [one.preprocessing.fit for one in run.members] == ["squash"] * 3


def test_a_prediction_is_the_mean_of_the_folds_probabilities(run: ravine.Run, folder: Path) -> None:
    test = folder / "data/test"
    alone = [ravine.Run.load(run.path / f"fold-{k}").predict(test) for k in (1, 2, 3)]
    mean = np.mean([one.probabilities.astype(np.float64) for one in alone], axis=0)
    found = ravine.Run.load(run.path).predict(test)
    np.testing.assert_allclose(found.probabilities, mean, rtol=2e-6)
    assert np.abs(alone[0].probabilities - mean).max() > 1e-3
    labels = [name.split("/")[0] for name in found.names]
    accuracy = np.mean([a == b for a, b in zip(found.labels, labels, strict=True)])
    assert run.result["test"]["accuracy"] == accuracy
    assert run.evaluate(test)["accuracy"] == accuracy


def test_a_killed_run_goes_on_to_the_same_weights_and_result(run: ravine.Run, folder: Path) -> None:
    copy = folder / "killed"
    shutil.copytree(run.path, copy)
    shutil.rmtree(copy / "fold-3")
    for name in ("fold-2/evaluation.json", "fold-2/model.safetensors", "evaluation.json"):
        (copy / name).unlink()
    shutil.rmtree(copy / "fold-2/checkpoints")
    (copy / "fold-2/checkpoints").mkdir()
    went_on = ravine.resume(copy)
    assert went_on.result == run.result
    for number in (1, 2, 3):
        file = f"fold-{number}/model.safetensors"
        assert (copy / file).read_bytes() == (run.path / file).read_bytes()


def test_a_fold_on_other_images_is_refused(run: ravine.Run, folder: Path) -> None:
    copy, data = folder / "changed", folder / "other"
    shutil.copytree(run.path, copy)
    shutil.rmtree(copy / "fold-3")
    (copy / "evaluation.json").unlink()
    shutil.copytree(folder / "data", data)
    Image.new("RGB", (8, 8)).save(data / "train/across/new.png")
    with pytest.raises(RunError, match="the data is not what its first folds had"):
        ravine.resume(copy, data=data)
    assert not (copy / "fold-3").exists()


def test_commands_that_take_one_network_name_a_fold(run: ravine.Run) -> None:
    told = r"is cross-validated, with a network for each of 3 folds, .*fold-1"
    for attempt in (
        lambda: run.model,
        lambda: diagnose_run(run.path),
        lambda: ravine.verify(run.path),
    ):
        with pytest.raises(RunError, match=told):
            attempt()
    with pytest.raises(SettingError, match="leave out --folds"):
        ravine.race(str(run.path), optimizers="adam,momentum", folds=3, model="wrn-10-1")


def test_the_folds_share_a_budget(run: ravine.Run) -> None:
    shared = fold_recipe(Recipe.of({"folds": 5, "budget": "10min"}), 2)
    assert (shared.budget, shared.folds, shared.fold) == (120.0, 5, 2)
    assert "fold = " not in (run.path / "recipe.toml").read_text()
    assert "fold = 2" in (run.path / "fold-2/recipe.toml").read_text()


def test_calibration_and_loss_of_folds_are_those_of_all_images() -> None:
    def fold(count: int, hits: int, loss: float, confidence: float) -> dict[str, object]:
        return {
            "count": count,
            "accuracy": hits / count,
            "interval": wilson_interval(hits, count),
            "loss": loss,
            "classes": ["a", "b"],
            "confusion": [[hits, count - hits], [0, 0]],
            "calibration": {
                "edges": [0, 0.5, 1],
                "count": [0, count],
                "confidence": [None, confidence],
                "accuracy": [None, hits / count],
                "ece": 0,
            },
            "tta": None,
        }

    found = pooled_evaluation([fold(10, 9, 0.5, 0.7), fold(30, 15, 1.5, 0.9)])
    assert (found["count"], found["accuracy"], found["loss"]) == (40, 0.6, 1.25)
    assert found["confusion"] == [[24, 16], [0, 0]]
    assert found["calibration"]["confidence"] == [None, pytest.approx(0.85)]
    assert found["calibration"]["accuracy"] == [None, pytest.approx(0.6)]
    assert found["calibration"]["ece"] == pytest.approx(0.25)
    json.dumps(found)
