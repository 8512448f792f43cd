"""The figures of leaderboard and journal: intervals, scores, and data without its labels."""

import csv
import gzip
import json
import runpy
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def bench_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(BENCH / f"{name}.py"))


def test_a_ratio_of_errors_has_the_interval_that_draws_give() -> None:
    """2,000 pairs of contestants with known errors: 95 % of the intervals hold the true ratio."""
    error_ratio = script("leaderboard_page")["error_ratio"]
    chance = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        ours, theirs = (
            [
                100 * chance.binomial(10_000, 1 - e + chance.normal(0, 0.003)) / 10_000
                for _ in range(3)
            ]
            for e in (0.1, 0.15)
        )
        _, low, high = error_ratio(ours, theirs)
        held += low <= 0.1 / 0.15 <= high

    assert held >= 0.95 * 2000


def test_one_seed_has_the_interval_of_its_test_images() -> None:
    interval = script("leaderboard_page")["accuracy_interval"]

    assert interval([90.0]) == pytest.approx((89.412, 90.588), abs=1e-3)
    wide = interval([89.0, 91.0])
    assert wide[0] == pytest.approx(90 - np.hypot(0.588, 12.706), abs=1e-2)


def test_a_difference_is_paired_by_seed_and_kept_only_beyond_its_interval() -> None:
    page = script("journal_page")

    def entry(data: str, tried: list[float]) -> dict[str, Any]:
        seeds = {str(seed): value for seed, value in enumerate((0.5, 0.7, 0.6))}
        rows = {"today": seeds, "ema=0.9": {str(k): v for k, v in enumerate(tried)}}
        return {"data": data, "today": "today", "tried": "0.9", "accuracies": rows}

    better, same = [0.54, 0.75, 0.645], [0.7, 0.5, 0.6]
    assert page["verdict"]([entry("fashion", better), entry("cifar", better)]) == "**yes**"
    assert page["verdict"]([entry("fashion", better), entry("cifar", same)]) == "no"
    assert page["verdict"]([entry("fashion", better)]) == "no"
    assert page["paired"](entry("cifar", same)) == [(0.5, 0.7), (0.7, 0.5), (0.6, 0.6)]


def test_a_contestant_that_leaves_images_out_has_no_score(tmp_path: Path) -> None:
    score = script("leaderboard")["score"]
    truth = {"0.png": "a", "1.png": "b"}
    path = tmp_path / "predictions.csv"

    def write(*rows: tuple[str, str]) -> None:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    write(("image", "class"), ("0.png", "a"), ("1.png", "a"))
    assert score(path, truth) == 1
    write(("0.png", "a"))
    with pytest.raises(SystemExit, match="1 of 2 test images"):
        score(path, truth)


def test_test_images_do_not_say_their_class_and_parts_are_balanced(tmp_path: Path) -> None:
    prepare = script("leaderboard_data")["prepare"]
    _write_fashion(tmp_path / "idx", per_class=4)
    board = prepare("fashion-20", {"fashion": tmp_path / "idx"}, tmp_path / "out")

    assert board.count == 20
    assert {len(list(folder.iterdir())) for folder in board.train.iterdir()} == {2}
    assert sorted(path.name for path in board.test.iterdir()) == sorted(board.truth)
    classes = sorted({folder.name for folder in board.train.iterdir()})
    # an image's grey is its class: the truth is right, and the names' order is none of classes
    greys = {p.name: np.asarray(Image.open(p))[0, 0] // 20 for p in board.test.iterdir()}
    names = script("leaderboard_data")["FASHION"]
    assert {name: names[grey] for name, grey in greys.items()} == dict(board.truth)
    in_order = [board.truth[name] for name in sorted(board.truth)]
    assert in_order != sorted(in_order)
    assert classes == sorted(names)
    assert json.loads((tmp_path / "out" / "fashion" / "truth.json").read_text()) == board.truth


def _write_fashion(folder: Path, *, per_class: int) -> None:
    folder.mkdir()
    labels = np.repeat(np.arange(10, dtype=np.uint8), per_class)
    pixels = np.broadcast_to(20 * labels[:, None, None], (len(labels), 28, 28)).astype(np.uint8)
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            data = gzip.compress(head + array.tobytes())
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(data)
