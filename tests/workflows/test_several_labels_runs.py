"""A run whose images have several labels, through every command that takes a run."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ravine
from ravine.core.errors import DataError, SettingError
from ravine.reports.page import page
from ravine.workflows.check import compare_variance
from ravine.workflows.diagnose import diagnose_run
from ravine.workflows.landscape import run_surface
from ravine.workflows.predict import predict_file
from ravine.workflows.predict_options import FormOptions

LABELS = ("bar", "dot", "noise")
SETTINGS = {
    "model": "wrn-10-1",
    "epochs": 6,
    "batch": 16,
    "threads": 1,
    "convolution": "guess",
}


def paint(folder: Path, count: int, seed: int) -> Path:
    """Draws pictures with a bar at the top, a dot in the middle, noise, all of them or none."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        has = rng.random(3) < (0.5, 0.4, 0.3)
        pixels = rng.integers(0, 40, (16, 16))
        if has[2]:
            pixels += rng.integers(0, 120, (16, 16))
        pixels[:3] += 90 * has[0]
        pixels[6:10, 6:10] += 90 * has[1]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append([f"{number}.png", *has.astype(int)])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", *LABELS], *rows])
    with (folder / "words.csv").open("w", newline="") as file:
        words = [["|".join(np.array(LABELS)[np.array(row[1:]) > 0])] for row in rows]
        csv.writer(file).writerows(
            [["image", "labels"], *([row[0], *w] for row, w in zip(rows, words, strict=True))]
        )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    paint(folder / "data", 120, 0)
    paint(folder / "test", 30, 1)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, own_cache: None) -> ravine.Run:
    data = folder / "data"
    return ravine.train(data / "labels.csv", out=folder / "run", keep_weights=2, **SETTINGS)


def test_the_history_and_the_result_have_scores_of_labels_in_place_of_accuracy(
    run: ravine.Run,
) -> None:
    last = run.epochs[-1]
    assert {"mean_ap", "macro_f1", "train_exact_match"} <= last.keys()
    assert "accuracy" not in last
    assert "exact_match" in run.steps[-1]
    result = run.result
    assert result["mean_ap_interval"][0] > result["chance"]
    assert result["thresholds"]["chosen_on_these_images"]
    assert run.trained.thresholds == tuple(row["threshold"] for row in result["labels"])
    assert run.settings["labels_per_image"] == "several"
    assert run.verdict.kind in ("good", "doubtful")


def test_the_first_loss_is_that_of_the_labels_shares(run: ravine.Run) -> None:
    audit = json.loads((run.path / "audit.json").read_text())
    shares = [row["counts"]["train"] / audit["several"]["train"] for row in audit["classes"]]
    known = -sum(p * np.log(p) + (1 - p) * np.log(1 - p) for p in shares)

    first = run.steps[0] if run.steps else run.epochs[0]
    assert first["loss"] < 1.25 * known


def test_a_resumed_run_is_bitwise_the_same(run: ravine.Run) -> None:
    assert ravine.verify(run.path, from_start=True).same


def test_evaluate_reads_other_forms_of_the_labels_and_takes_thresholds(
    run: ravine.Run, folder: Path
) -> None:
    own = run.evaluate(folder / "test/labels.csv")
    words = run.evaluate(folder / "test/words.csv")
    low = run.evaluate(folder / "test/labels.csv", threshold=0.0)

    assert own["count"] == 30
    assert words["mean_ap"] == own["mean_ap"]
    assert not own["thresholds"]["chosen_on_these_images"]
    assert [row["recall"] for row in low["labels"]] == [1.0] * 3
    with pytest.raises(SettingError, match=r"threshold 1.5 is no probability; give one from 0"):
        run.evaluate(folder / "test/labels.csv", threshold=1.5)


def test_predictions_are_the_labels_whose_probability_reaches_their_threshold(
    run: ravine.Run, folder: Path
) -> None:
    found = run.predict(sorted((folder / "test").glob("*.png")))
    thresholds = np.array(run.trained.thresholds)

    sets = [
        tuple(name for name, p, t in zip(LABELS, row, thresholds, strict=True) if p >= t)
        for row in found.probabilities
    ]
    assert found.labels == sets
    assert any(len(one) > 1 for one in sets)
    assert not np.allclose(found.probabilities.sum(1), 1)


def written(out: Path) -> list[list[str]]:
    with out.open(newline="") as file:
        return list(csv.reader(file))


def test_predict_writes_labels_and_fills_both_forms_of_a_sample(
    run: ravine.Run, folder: Path, tmp_path: Path
) -> None:
    out, images = tmp_path / "out.csv", [str(folder / "test")]
    predict_file(run.path, images, out=out)
    header, *rows = written(out)
    assert header == ["image", "labels", *LABELS]
    told = {Path(row[0]).name: row for row in rows}

    columns = tmp_path / "columns.csv"
    columns.write_text("id,noise,bar,dot\n7.png,0,0,0\n3.png,0,0,0\n")
    predict_file(run.path, images, out=out, like=columns)
    assert written(out)[0] == ["id", "noise", "bar", "dot"]
    name, *found = written(out)[2]
    alone = [float(told["3.png"][column]) for column in (4, 2, 3)]
    assert name == "3.png"
    assert [float(value) for value in found] == pytest.approx(alone, abs=5e-3)  # bfloat16
    predict_file(run.path, images, out=out, like=columns, form=FormOptions(answers="labels"))
    said = told["7.png"][1].split("|")
    assert written(out)[1] == ["7.png", *(str(int(n in said)) for n in ("noise", "bar", "dot"))]

    words = tmp_path / "words.csv"
    words.write_text("Image,Tags\n" + "".join(f"{n}.png,bar dot\n" for n in range(30)))
    done = predict_file(run.path, images, out=out, like=words)
    assert done.interpretation == "labels separated by blanks"
    assert written(out)[0] == ["Image", "Tags"]
    assert all(row[1] == told[row[0]][1].replace("|", " ") for row in written(out)[1:])


def test_a_sample_of_other_labels_is_refused(run: ravine.Run, folder: Path, tmp_path: Path) -> None:
    sample = tmp_path / "s.csv"
    sample.write_text("id,labels\n0.png,lion zebra\n")

    with pytest.raises(DataError, match="zebra"):
        predict_file(run.path, [str(folder / "test")], out=tmp_path / "o.csv", like=sample)


def test_the_page_has_a_row_for_each_label_and_no_confusion(run: ravine.Run) -> None:
    text = page(run.path)

    assert "Mean average precision" in text
    assert 'id="labels"' in text
    assert 'id="confusion"' not in text
    assert "does not hold what it should" not in text
    for name in LABELS:
        assert f"<td>{name}</td>" in text


def test_a_surface_of_the_run_has_its_loss_in_the_middle(run: ravine.Run, tmp_path: Path) -> None:
    surfaces, _ = run_surface(
        run.path, out=tmp_path / "surface", images=60, nodes=5, along="random", policy="running"
    )

    losses = surfaces[0].loss[surfaces[0].evaluated]
    assert np.isfinite(losses).all()
    assert losses.min() < run.result["loss"] + 1 < losses.max()


def test_a_diagnosis_of_the_run_and_its_labels_finds_nothing_wrong_with_them(
    run: ravine.Run,
) -> None:
    found = diagnose_run(run.path, labels_probe=True)

    assert not {"labels-unrelated", "plateau", "labels-out-of-range"} & set(found.codes)


def test_labels_of_other_images_are_found_by_the_check(folder: Path, tmp_path: Path) -> None:
    header, *rows = written(folder / "data/labels.csv")
    labels = np.random.default_rng(0).permutation([row[1:] for row in rows])
    with (folder / "data/shuffled.csv").open("w", newline="") as file:
        mixed = [[row[0], *other] for row, other in zip(rows, labels, strict=True)]
        csv.writer(file).writerows([header, *mixed])
    codes = {}
    for name in ("labels", "shuffled"):
        (found,) = compare_variance(
            str(folder / f"data/{name}.csv"),
            {"model": "wrn-10-1"},
            out=tmp_path / name,
            labels_probe=True,
            learn=False,
        )
        codes[name] = {row["code"] for row in found["findings"]}

    assert "labels-unrelated" in codes["shuffled"]
    assert "labels-unrelated" not in codes["labels"]


def test_folds_have_one_result_and_answer_together(folder: Path, own_cache: None) -> None:
    settings = SETTINGS | {"epochs": 2}
    run = ravine.train(folder / "data/labels.csv", out=folder / "folds", folds=2, **settings)

    result = run.result
    folds = [json.loads((run.path / f"fold-{n}/evaluation.json").read_text()) for n in (1, 2)]
    assert result["count"] == sum(one["count"] for one in folds) == 120
    mean = sum(one["mean_ap"] * one["count"] for one in folds) / 120
    assert result["mean_ap"] == pytest.approx(mean)
    hits = [sum(one["labels"][k]["hits"] for one in folds) for k in range(3)]
    assert [row["hits"] for row in result["labels"]] == hits
    thresholds = run.thresholds()
    assert thresholds is not None
    assert np.allclose(thresholds.values, [r["threshold"] for r in result["labels"]], atol=0.01)
    assert len(run.predict(folder / "test").labels) == 30


def test_a_head_on_a_frozen_backbone_is_validated_as_its_network_is(
    run: ravine.Run, folder: Path, tmp_path: Path, own_cache: None
) -> None:
    renamed = folder / "data/renamed.csv"
    text = (folder / "data/labels.csv").read_text()
    renamed.write_text(text.replace("bar,dot,noise", "top,mid,rough"))

    head = ravine.train(
        renamed, out=tmp_path / "head", weights=str(run.path), freeze="backbone", **SETTINGS
    )

    assert head.trained.classes == ("top", "mid", "rough")
    assert head.epochs[-1]["loss"] == pytest.approx(head.result["loss"], rel=0.05)
    assert head.result["mean_ap"] > 0.8


@pytest.mark.slow
def test_a_race_is_decided_by_the_mean_average_precision(
    folder: Path, tmp_path: Path, own_cache: None
) -> None:
    found = ravine.race(
        folder / "data/labels.csv",
        optimizers=("momentum", "adam"),
        out=tmp_path / "race",
        jobs=1,
        rules={"trials": 1, "seeds": 1, "epochs": 2.0},
        **{key: value for key, value in SETTINGS.items() if key != "epochs"},
    )

    results = json.loads((found.path / "results.json").read_text())
    assert results["measure"] == "mAP"
    shown = {row["name"]: row["results"]["1"] for row in results["table"]}
    for name, mean in shown.items():
        run = ravine.Run.load(found.path / "runs" / f"{name}-seed-1")
        assert run.result["classes"] == list(LABELS)
        assert 0.3 < mean <= 1.0
        assert run.result["mean_ap"] > 0.3


@pytest.mark.slow
def test_an_export_answers_with_the_labels_that_the_run_predicts(
    run: ravine.Run, folder: Path, tmp_path: Path
) -> None:
    images = sorted((folder / "test").glob("*.png"))
    proof = run.export(tmp_path / "pt2", format="pt2", data=folder / "test/words.csv")
    program = [sys.executable, str(tmp_path / "pt2/predict.py"), *map(str, images)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)

    said = {row["image"]: row["class"] for row in csv.DictReader(done.stdout.splitlines())}
    found = run.predict(images, precision="float32")
    names = dict(zip(map(str, images), found.labels, strict=True))
    assert said == {image: "|".join(labels) for image, labels in names.items()}
    assert (proof.images, proof.differing) == (30, 0)
    assert proof.accuracy is not None
    own = run.evaluate(folder / "test/words.csv", precision="float32")
    assert proof.accuracy.value == pytest.approx(own["exact_match"])


def test_a_network_of_one_class_an_image_refuses_several_labels(
    folder: Path, tmp_path: Path, own_cache: None
) -> None:
    header, *rows = written(folder / "data/words.csv")
    single = [row for row in rows if row[1] and "|" not in row[1]]
    table = folder / "data/single.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([header, *single])
    run = ravine.train(table, out=tmp_path / "one", **(SETTINGS | {"epochs": 1}))

    with pytest.raises(DataError, match="several labels per image, and the network answers with"):
        run.evaluate(folder / "test/labels.csv")
    with pytest.raises(SettingError, match="threshold has no effect: the network answers with one"):
        run.predict(folder / "test", threshold=0.5)
    with pytest.raises(SettingError, match=r"threshold 0.5 has no effect: the images have one"):
        ravine.train(table, out=tmp_path / "two", threshold=0.5, **SETTINGS)
    with pytest.raises(SettingError, match=r"threshold"):
        ravine.train(folder / "data/labels.csv", out=tmp_path / "three", threshold=1.2, **SETTINGS)
