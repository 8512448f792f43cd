import json
import tomllib
from pathlib import Path

import pytest

from .conftest import Command, paint


def test_check_compares_networks_and_draws_them(ravine: Command, tmp_path: Path) -> None:
    data = paint(tmp_path / "data", 40)
    said = ravine(
        "check", data, "--model", "resnet-cifar-8", "--init", "xavier,he", "--out", tmp_path / "o",
        "--json",
    )  # fmt: skip
    assert said.code == 0
    rows = [json.loads(line) for line in said.out.splitlines()]
    rows = [row for row in rows if row["kind"] == "network"]
    assert [row["name"] for row in rows] == ["xavier", "he"]
    for row in rows:
        assert row["not_predicted"] == []
        measured = row["factors"]["forward"]["measured"]
        assert row["factors"]["forward"]["predicted"] == pytest.approx(measured, rel=0.2)
    assert (tmp_path / "o" / "variance.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "o" / "variance.svg").read_text()


def test_check_prints_a_line_for_each_network(ravine: Command, tmp_path: Path) -> None:
    data = paint(tmp_path / "data", 40)
    said = ravine(
        "check", data, "--model", "resnet-cifar-8,wrn-10-1", "--out", tmp_path / "o", "--no-learn"
    )

    assert "resnet-cifar-8" in said.out
    assert "wrn-10-1" in said.out
    assert "loss and signals (" in said.out
    assert "learning;" in said.out.partition("not checked: ")[2]


def test_an_unknown_scheme_is_refused_before_anything_is_written(
    ravine: Command, tmp_path: Path
) -> None:
    said = ravine("check", "@fashion", "--init", "he,xavjer", "--out", tmp_path / "o")

    assert said.code == 2
    assert "did you mean 'xavier'" in said.err
    assert not (tmp_path / "o").exists()


def test_few_images_are_checked_at_the_rate_that_a_training_takes(
    ravine: Command, tmp_path: Path
) -> None:
    data = paint(tmp_path / "data", 60)
    small = (data, "--model", "wrn-10-1")

    said = ravine("check", *small, "--out", tmp_path / "o", "--no-learn", "--json")
    ravine("train", *small, "--epochs", "0.1", "--out", tmp_path / "run")

    rows = [json.loads(line) for line in said.out.splitlines()]
    (rate,) = (row["rate"]["training"] for row in rows if row["kind"] == "network")
    recipe = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    assert rate < 1  # that of 128 images is 3
    assert rate == pytest.approx(recipe["lr"], rel=1e-3)
