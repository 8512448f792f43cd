import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from ravine import train
from ravine.core.errors import RavineError

from .conftest import Command, paint


@pytest.fixture(scope="module")
def too_fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rate is far too high."""
    place = tmp_path_factory.mktemp("broken")
    data = paint(place / "data", 60)
    settings = {"model": "resnet-cifar-8", "lr": 1000, "warmup": 0, "epochs": 8, "batch": 16}
    with pytest.MonkeyPatch.context() as patch, suppress(RavineError):
        patch.setenv("RAVINE_CACHE", str(place / "cache"))
        train(data, out=place / "run", **settings)
    return place / "run"


@pytest.fixture
def broken(too_fast: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(too_fast, tmp_path / "run")


def test_a_rate_that_is_too_high_is_found_tried_and_kept(ravine: Command, broken: Path) -> None:
    said = ravine("diagnose", broken, "--try", "--steps", "12", "--seeds", "2", "--json")
    rows = [json.loads(line) for line in said.out.splitlines()]
    findings = [row for row in rows if row["kind"] == "finding"]
    (trial, *_) = [row for row in rows if row["kind"] == "trial"]

    assert said.code == 0
    assert findings[0]["code"] in ("rate-too-high", "not-finite", "diverged")
    assert len(trial["losses"]) == 2
    assert "lr" in trial["cure"]
    kept = [json.loads(line) for line in (broken / "findings.jsonl").read_text().splitlines()]
    assert next(row for row in kept if row.get("trial"))["trial"]["text"] == trial["text"]
    assert trial["text"] in (broken / "report.html").read_text()


def test_a_second_diagnosis_takes_the_place_of_the_first(ravine: Command, broken: Path) -> None:
    said = [ravine("diagnose", broken, "--rows-only", "--json").out for _ in range(2)]
    kept = (broken / "findings.jsonl").read_text()

    assert said[0] == said[1]
    assert kept.count('"by": "diagnose"') == said[0].count('"kind": "finding"')


def test_a_healthy_run_has_nothing_critical(ravine: Command, trained: Path) -> None:
    said = ravine("diagnose", trained, "--json")

    assert said.code == 0
    assert '"critical"' not in said.out


def test_a_folder_that_is_no_run_is_refused(ravine: Command, tmp_path: Path) -> None:
    assert "no run folder" in ravine("diagnose", tmp_path / "none").err


@pytest.mark.slow
def test_where_nothing_is_learnt_the_labels_are_asked(ravine: Command, tmp_path: Path) -> None:
    data = paint(tmp_path / "data", 150)
    chance = np.random.default_rng(0)
    across, along = sorted(data.iterdir())
    for n, name in enumerate(sorted(across.iterdir())):
        if chance.random() < 0.5:
            other = sorted(along.iterdir())[n]
            kept = name.read_bytes()
            name.write_bytes(other.read_bytes())
            other.write_bytes(kept)
    run = tmp_path / "run"
    ravine("train", data, "--model", "resnet-cifar-8", "--epochs", "8", "--batch", "32",
           "--augment", "none", "--out", run, "--quiet")  # fmt: skip

    said = ravine("diagnose", run, "--json")

    findings = [json.loads(line) for line in said.out.splitlines()]
    assert findings[0]["code"] == "labels-unrelated"
    assert {"plateau", "overfitting", "validation-at-chance"} & set(findings[0]["symptoms"])
