"""`compare`: settings that differ, and the difference of the results, paired by image."""

import json
from pathlib import Path

import numpy as np
import pytest

from ravine.cli.compare import comparison_lines
from ravine.core.errors import RunError
from ravine.reports.live.run_feed import RunFeed
from ravine.runs.folder import RunFolder
from ravine.runs.predictions_file import read_predictions, write_predictions
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import write_json
from ravine.runs.run_list import read_entry
from ravine.workflows.compare import compare
from ravine.workflows.run_columns import shown_entry

CLASSES = 3


def digests(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), np.uint8)


def make_run(
    path: Path, labels: np.ndarray, predicted: np.ndarray, images: np.ndarray, **settings: object
) -> Path:
    path.mkdir()
    folder = RunFolder(path)
    write_recipe(folder.recipe, {"model": "wrn-10-1", **settings}, None)
    table = np.zeros((CLASSES, CLASSES), int)
    np.add.at(table, (labels, predicted), 1)
    write_json(folder.evaluation, {
        "split": "test", "count": len(labels), "accuracy": float((labels == predicted).mean()),
        "interval": [0.0, 1.0], "loss": 1.0, "classes": ["a", "b", "c"],
        "confusion": table.tolist(),
    })  # fmt: skip
    write_json(folder.environment, {"data_fingerprint": "one"})
    write_predictions(folder.predictions, images, predicted, labels)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Returns two runs on 200 images: the second is right on 8 more, and wrong on 2 others."""
    images, labels = digests(200), np.arange(200) % CLASSES
    first, second = labels.copy(), labels.copy()
    first[:30] += 1
    second[:22] += 1
    second[50:52] += 1
    order = np.random.default_rng(1).permutation(200)
    one = make_run(tmp_path / "one", labels, first % CLASSES, images, lr=0.1, augment="none")
    other = make_run(
        tmp_path / "two", labels[order], (second % CLASSES)[order], images[order], lr=0.2
    )
    return one, other


def test_images_are_paired_by_their_pixels_and_not_by_their_order(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)

    assert found.difference is not None
    assert found.difference.value == pytest.approx(6 / 200)
    assert (found.difference.paired, found.row()["only_second"], found.row()["only_first"]) == (
        200, 8, 2,
    )  # fmt: skip
    assert found.verdict.startswith("These images do not tell them apart: two +3.00 points")
    assert found.same_data is True


def test_only_what_differs_is_named_with_the_defaults_that_a_recipe_leaves_out(
    pair: tuple[Path, Path],
) -> None:
    found = compare(*pair)

    assert found.settings["lr"] == (0.1, 0.2)
    assert found.settings["augment"][0] == "none"
    assert set(found.settings) == {"lr", "augment"}


def several_run(path: Path, mean_ap: float, half: float) -> Path:
    path.mkdir()
    folder = RunFolder(path)
    write_recipe(folder.recipe, {"model": "wrn-10-1"}, None)
    interval = [mean_ap - half, mean_ap + half]
    found = {"split": "test", "count": 90, "mean_ap": mean_ap, "mean_ap_interval": interval}
    write_json(folder.evaluation, {**found, "loss": 1.0, "labels": []})
    return path


def test_runs_of_several_labels_are_compared_by_map(tmp_path: Path) -> None:
    one, other = several_run(tmp_path / "a", 0.6, 0.03), several_run(tmp_path / "b", 0.7, 0.04)

    found = compare(one, other)

    assert found.facts["mAP"] == (0.6, 0.7)
    assert found.difference is not None
    assert found.difference.interval == pytest.approx((0.05, 0.15))
    assert found.verdict == "b is better on these images: +10.00 points (95 %: +5.00 to +15.00)"
    assert comparison_lines(found)[-1] == (
        "not paired: the interval takes the images of both for independent"
    )


def test_a_list_and_a_watched_run_say_map(tmp_path: Path) -> None:
    run = several_run(tmp_path / "a", 0.6, 0.03)
    epoch = {"kind": "epoch", "step": 3, "epoch": 1.0, "mean_ap": 0.4, "macro_f1": 0.3}
    (run / "history.jsonl").write_text(json.dumps(epoch) + "\n")

    assert shown_entry(read_entry(run, run))["accuracy"] == "40.00 % mAP"
    feed = RunFeed(RunFolder(run))
    feed.advance()
    assert list(feed.epoch_column("accuracy")) == pytest.approx([0.4])


def test_accuracy_and_map_have_no_difference(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    found = compare(pair[0], several_run(tmp_path / "a", 0.6, 0.03))

    assert found.difference is None
    assert found.verdict == "No difference: accuracy and mAP are no like figures"
    assert found.facts["accuracy or mAP"] == (0.85, 0.6)


def test_without_images_in_common_it_is_not_paired(pair: tuple[Path, Path]) -> None:
    kept = read_predictions(pair[1] / "predictions.npz")
    assert kept is not None
    write_predictions(
        pair[1] / "predictions.npz", digests(200, seed=9), kept.predicted, kept.labels
    )
    found = compare(*pair)

    assert found.difference is not None
    assert found.difference.paired == 0
    assert found.difference.value == pytest.approx(6 / 200)


def test_a_run_without_a_result_has_no_difference(pair: tuple[Path, Path]) -> None:
    for name in ("evaluation.json", "predictions.npz"):
        (pair[0] / name).unlink()
    found = compare(*pair)

    assert found.difference is None
    assert found.verdict == "No difference: one of them has no result yet"


def test_torn_predictions_are_named(pair: tuple[Path, Path]) -> None:
    (pair[0] / "predictions.npz").write_bytes(b"PK torn")

    with pytest.raises(RunError, match=r"predictions\.npz holds no predictions"):
        compare(*pair)
