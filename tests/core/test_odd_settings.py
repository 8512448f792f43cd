"""Odd values of settings and paths are one line that names the setting."""

from pathlib import Path
from typing import Any

import pytest

from ravine.core.errors import RunError, SettingError
from ravine.core.paths import usable_path
from ravine.runs.recipe_file import read_recipe
from ravine.workflows.recipe import Recipe, compose


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", True), ("epochs", True), ("mixup", False), ("weight_decay", True), ("batch", True),
     ("clip", True), ("dropout", [False]), ("seed", True), ("model", True)],
)  # fmt: skip
def test_truth_is_no_number(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"{name}: a number or text is wanted"):
        Recipe.of({name: value})


def test_truth_is_a_switch() -> None:
    assert Recipe.of({"skip": False}).skip is False


@pytest.mark.parametrize("name", ["lr", "dropout", "epochs", "weight_decay", "batch", "seed"])
@pytest.mark.parametrize(
    "value", [10**400, -(10**400), 10**5000], ids=["400 digits", "negative", "5000 digits"]
)
def test_a_number_of_hundreds_of_digits_is_refused(name: str, value: int) -> None:
    with pytest.raises(SettingError, match=name):
        Recipe.of({name: value})


@pytest.mark.parametrize("setting", [{"epochs": 1e308}, {"budget": 1e308}, {"budget": "9" * 300}])
def test_a_run_without_end_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(setting))):
        Recipe.of(setting)


@pytest.mark.parametrize("text", ["a\0b", "caf\udce9"])
def test_text_that_no_path_can_hold_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="labels: "):
        Recipe.of({"labels": text})
    with pytest.raises(SettingError, match="out: "):
        usable_path("out", text)


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "out is empty"), (" ", "out is empty"), ("~nosuchuser/x", "no user 'nosuchuser'"),
     ("a" * 300, "name too long"), ("/dev/zero", "no regular file"), ("loop/x", "symbolic links")],
)  # fmt: skip
def test_a_path_that_cannot_be_is_one_line(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")

    with pytest.raises(SettingError, match=f"(?i)out.*{message}|{message}"):
        usable_path("out", path)


@pytest.mark.parametrize(
    "text", ["lr = " + "9" * 5000, "lr = " + "[" * 100_000, "[", "\0", "lr = 0.1\nlr = 0.2"]
)
def test_a_recipe_that_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)

    with pytest.raises(RunError, match="is not a recipe in TOML"):
        read_recipe(tmp_path / "x.toml")


def test_an_empty_recipe_name_is_not_taken_for_none() -> None:
    with pytest.raises(SettingError, match="unknown recipe ''"):
        compose("", {})
