"""`evaluate --out`, the pictures of the data, and what is printed of many classes."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ravine
from ravine.cli.evaluation_lines import evaluation_lines
from ravine.core.errors import RunError
from ravine.reports import page
from ravine.reports.evaluation_page import render_evaluation
from ravine.runs.confusion import packed_confusion
from ravine.training.evaluation import full_evaluation, within_first
from ravine.workflows.run import Run

_CLASSES = 30


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns class folders of noise; one picture lies in two of them."""
    chance = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("photos")
    for name in ("ape", "bee", "cat"):
        (folder / name).mkdir()
        for number in range(20):
            image = Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            image.save(folder / name / f"{number}.png")
    twin = (folder / "ape" / "0.png").read_bytes()
    (folder / "bee" / "twin.png").write_bytes(twin)
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return ravine.train(
            photos,
            model="wrn-10-1",
            epochs=1,
            device="cpu",
            convolution="torch",
            mixup=0.2,
            out=tmp_path_factory.mktemp("runs") / "run",
            show="none",
        )


def test_a_kept_evaluation_has_a_row_for_each_image_that_agrees_with_the_result(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results" / "first"
    found = run.evaluate(photos, out=out)

    rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    assert len(rows) == found["count"] == 61
    hits = [row["true"] == row["predicted"] for row in rows]
    assert np.mean(hits) == pytest.approx(found["accuracy"])
    for row in rows:
        shares = {name: float(row[name]) for name in ("ape", "bee", "cat")}
        assert max(shares, key=shares.__getitem__) == row["predicted"]
        assert float(row["probability"]) == max(shares.values())
    kept = json.loads((out / "evaluation.json").read_text())
    assert kept["accuracy"] == found["accuracy"]
    assert kept["network"] == str(run.path)
    html = (out / "report.html").read_text()
    assert f"{100 * found['accuracy']:.2f} %" in html
    assert f"{found['trained_on']:,} of these images were trained on" in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)


def test_a_kept_evaluation_overwrites_nothing(run: Run, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"exists already; choose another folder with --out"):
        run.evaluate(photos, out=tmp_path)


def test_the_report_shows_augmented_images_and_a_picture_of_two_classes(run: Run) -> None:
    index = json.loads((run.path / "pictures" / "index.json").read_text())
    assert len(index["training"]) == 24
    assert all(re.fullmatch(r"\w+( \d+ %, \w+ \d+ %)?", row["label"]) for row in index["training"])
    (pair,) = index["pairs"]
    assert {Path(name).name for name in pair["names"]} == {"0.png", "twin.png"}
    assert set(pair["labels"]) == {"ape", "bee"}
    one, two = (np.asarray(Image.open(run.path / "pictures" / name)) for name in pair["images"])
    np.testing.assert_array_equal(one, two)

    html = page.page(run.path)
    assert html.count(', augmented">') == 24
    assert "ape or bee" in html or "bee or ape" in html


def test_a_picture_that_is_a_link_is_not_shown(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    picture = run.path / "pictures" / "training-00.png"
    kept = picture.read_bytes()
    picture.unlink()
    picture.symlink_to(secret)
    try:
        assert page.page(run.path).count(', augmented">') == 23
    finally:
        picture.unlink()
        picture.write_bytes(kept)


def _of_many_classes() -> dict[str, object]:
    chance = np.random.default_rng(1)
    logits = chance.normal(size=(600, _CLASSES))
    labels = np.arange(600) % _CLASSES
    logits[np.arange(600), labels] += 1.5
    logits[labels == 7, 11] += 4
    logs = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    names = [f"class-{k}" for k in range(_CLASSES)]
    return full_evaluation(logs, None, labels, split="test", classes=names)


def test_the_true_class_is_among_the_first_five_as_sorting_says() -> None:
    chance = np.random.default_rng(2)
    logs = chance.normal(size=(200, 25)).astype(np.float32)
    labels = chance.integers(0, 25, 200)
    expected = np.mean([labels[k] in np.argsort(-logs[k])[:5] for k in range(200)])
    found = within_first(logs, labels)
    assert found is not None
    assert found["accuracy"] == pytest.approx(expected)
    assert within_first(logs[:, :19], labels % 19) is None
    equal = np.zeros((25, 25), np.float32)
    tied = within_first(equal, np.arange(25))
    assert tied is not None
    assert tied["accuracy"] == 5 / 25


def test_many_classes_are_a_picture_with_the_worst_pairs(tmp_path: Path) -> None:
    found = _of_many_classes()
    (tmp_path / "evaluation.json").write_text(json.dumps(found))
    html = render_evaluation(tmp_path).read_text()
    assert "confusion matrix of 30 classes" in html
    table = html.split("The most frequent errors:")[1]
    assert re.search(r"<tr><td>class-7</td><td>class-11</td>", table)
    assert table.index("class-7</td><td>class-11") == min(
        found.start() for found in re.finditer(r"class-\d+</td><td>class-\d+", table)
    )


def test_a_page_is_written_or_refused_whatever_its_file_leaves_out(
    run: Run, tmp_path: Path
) -> None:
    whole = json.loads((run.path / "evaluation.json").read_text())
    shutil.copytree(run.path, tmp_path / "run")
    for key in whole:
        left = {name: value for name, value in whole.items() if name != key}
        (tmp_path / "run" / "evaluation.json").write_text(json.dumps(left))
        page.render_report(tmp_path / "run")
        (tmp_path / "evaluation.json").write_text(json.dumps(left))
        if key in {"split", "count", "accuracy", "interval", "classes", "confusion"}:
            with pytest.raises(RunError, match=key):
                render_evaluation(tmp_path)
        else:
            render_evaluation(tmp_path)


def test_the_lines_of_classes_have_counts_and_the_harmonic_mean() -> None:
    table = np.array([[8, 2, 0], [1, 9, 0], [0, 3, 0]])
    found = {
        "split": "test",
        "count": 23,
        "accuracy": 17 / 23,
        "interval": [0.5, 0.9],
        "loss": 0.5,
        "classes": ["a", "b", "c"],
        "confusion": packed_confusion(table),
    }
    lines = evaluation_lines(found, per_class=True)
    a = 2 * (8 / 9) * (8 / 10) / (8 / 9 + 8 / 10)
    assert any(re.search(rf"  a  images 10  recall .*80.00 %.*F1 {a:.3f}", line) for line in lines)
    assert any("never said" in line and "F1 0.000" in line for line in lines)


def test_of_a_hundred_classes_the_weakest_are_printed() -> None:
    table = np.eye(100, dtype=int) * 10
    table[42] = np.roll(table[43], 0)
    found = {
        "split": "test",
        "count": 1000,
        "accuracy": 0.99,
        "interval": [0.98, 0.995],
        "loss": 0.1,
        "classes": [f"n{k}" for k in range(100)],
        "confusion": packed_confusion(table),
    }
    lines = evaluation_lines(found, per_class=True)
    assert len(lines) == 13
    assert lines[3].split()[0] == "n42"
