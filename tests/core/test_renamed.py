"""Old names of settings, from each place where a user can write one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ravine.cli.main import app
from ravine.cli.options import given
from ravine.core.errors import SettingError
from ravine.core.renamed import RENAMED, reads_old_names, with_new_names
from ravine.models import build
from ravine.optim import parameter_groups
from ravine.workflows.recipe import Recipe, compose

LINE = "bias_rate is now called bias_lr_multiplier; it is read under the new name\n"


def test_an_old_name_in_a_recipe_file_is_read_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text("bias_rate = 8.0\nepochs = 1\n")
    recipe, _ = compose(tmp_path / "recipe.toml", {})

    assert recipe.bias_lr_multiplier == 8.0
    assert capsys.readouterr().err == LINE


def test_a_change_under_the_new_name_replaces_an_old_one_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("bias_rate = 8.0\nepochs = 1\n")

    assert compose(tmp_path / "recipe.toml", {"bias_lr_multiplier": 2})[0].bias_lr_multiplier == 2
    assert compose(tmp_path / "recipe.toml", {"bias_rate": 3})[0].bias_lr_multiplier == 3


@pytest.mark.parametrize(
    ("flags", "pairs"),
    [({"bias_rate": "8"}, []), ({}, ["bias_rate=8"]), ({}, ["bias-rate = 8"])],
    ids=["flag", "set", "set with a hyphen"],
)
def test_an_old_name_on_the_command_line_is_read_with_one_line(
    flags: dict[str, str], pairs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert given(flags, pairs) == {"bias_lr_multiplier": "8"}
    assert capsys.readouterr().err == LINE


def test_the_old_flag_is_taken_and_help_names_the_new_one_only(tmp_path: Path) -> None:
    runner = CliRunner(env={"COLUMNS": "200"})
    run = runner.invoke(app, ["train", str(tmp_path / "none"), "--bias-rate", "-1"])
    shown = runner.invoke(app, ["train", "--help", "all"]).output

    assert isinstance(run.exception, SettingError) or "bias_lr_multiplier" in run.output
    assert "no such option" not in run.output.lower()
    assert "--bias-lr-multiplier" in shown
    assert "--bias-rate" not in shown


def test_an_old_argument_in_python_is_read_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = build("resnet-cifar-8", classes=2)
    old = parameter_groups(model, weight_decay=0.1, lr=1.0, bias_rate=8.0, rates={"0.*": 0.5})  # type: ignore[call-arg]
    told = capsys.readouterr().err
    new = parameter_groups(
        model, weight_decay=0.1, lr=1.0, bias_lr_multiplier=8.0, lr_multipliers={"0.*": 0.5}
    )

    assert [group["lr"] for group in old] == [group["lr"] for group in new] == [0.5, 1.0, 8.0]
    assert told == f"{LINE}rates is now called lr_multipliers; it is read under the new name\n"
    assert Recipe.of({"bias_rate": 8.0}).bias_lr_multiplier == 8.0


def test_both_names_together_are_refused() -> None:
    with pytest.raises(SettingError, match="the old name of bias_lr_multiplier, which is given"):
        Recipe.of({"bias_rate": 8.0, "bias_lr_multiplier": 4.0})
    with pytest.raises(SettingError, match="bias_lr_multiplier is given twice"):
        given({"bias_lr_multiplier": "4"}, ["bias_lr_multiplier=8"])
    with pytest.raises(SettingError, match="given twice"):
        given({"bias_lr_multiplier": "4"}, ["bias_rate=8"])


def test_a_name_that_the_reader_knows_is_its_own() -> None:
    assert with_new_names({"rates": 1}, {"rates", "lr_multipliers"}) == {"rates": 1}
    assert with_new_names({"rates": 1}, {"lr"}) == {"rates": 1}


def test_a_function_keeps_its_name_and_its_own_arguments() -> None:
    @reads_old_names
    def double(*, bias_lr_multiplier: float) -> float:
        return 2 * bias_lr_multiplier

    assert double.__name__ == "double"
    assert double(bias_lr_multiplier=2.0) == 4.0
    with pytest.raises(TypeError):
        double(bias_lr=2.0)  # type: ignore[call-arg]


def test_no_new_name_is_old_and_no_old_name_is_a_setting() -> None:
    assert RENAMED.keys().isdisjoint(RENAMED.values())
    assert RENAMED.keys().isdisjoint(Recipe.model_fields)
