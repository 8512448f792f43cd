"""The help of commands, and the names that people type."""

import re
from importlib import import_module

import pytest

from ravine.cli.main import COMMANDS
from ravine.cli.short_help import FIRST
from ravine.core.errors import SettingError
from ravine.core.renamed import ALIASES
from ravine.core.setting_texts import setting_texts
from ravine.runs.recipe_file import read_recipe
from ravine.workflows.recipe import Recipe

from .test_commands import _paint


def options_in(text: str) -> set[str]:
    return set(re.findall(r"│ (--[\w-]+)", text))


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("command", FIRST)
def test_help_shows_a_screen_of_options_and_all_shows_the_rest(ravine, command: str) -> None:  # type: ignore[no-untyped-def]
    short, long = ravine(command, "--help"), ravine(command, "--help", "all")

    assert short.code == long.code == 0
    first = options_in(short.out)
    assert {f"--{name.replace('_', '-')}" for name in FIRST[command]} <= first | {"--learn"}
    assert 14 <= len(first) <= 18
    assert options_in(long.out) > first
    assert ravine(command, "--help-all").out == long.out
    assert f"{len(first) - 1} of {len(options_in(long.out)) - 1} options" in short.out
    for text in (short.out, long.out):
        assert "[chosen]" not in text
        assert "<bool>" not in text


@pytest.mark.usefixtures("wide")
def test_a_default_that_is_chosen_is_said_in_words(ravine) -> None:  # type: ignore[no-untyped-def]
    text = ravine("train", "--help", "all").out

    texts = setting_texts(Recipe)
    for name, field in Recipe.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if name != "data" and default in (None, ()):
            assert "by default" in texts[name], name
    assert "by default 10min where no epochs are given" in " ".join(text.replace("│", "").split())


def test_the_list_of_commands_says_what_their_help_says(ravine, wide: None) -> None:  # type: ignore[no-untyped-def]
    text = ravine("--help").out
    for name, row in COMMANDS.items():
        function = getattr(import_module(f"ravine.cli.{name}"), name)

        assert row.summary == (function.__doc__ or "").splitlines()[0]
        assert row.summary in text
    places = [text.index(f"─ {panel} ") for panel in ("Train", "Look", "Use", "Compare")]
    assert places == sorted(places)
    assert text.index("ravine train @fashion") < places[0]


def test_the_version_is_that_of_the_package(ravine) -> None:  # type: ignore[no-untyped-def]
    import ravine as package

    assert ravine("--version").out == f"ravine {package.__version__}\n"


def test_names_of_other_libraries_are_stored_under_the_one_name(ravine, tmp_path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        _paint(tmp_path / "data" / name, 10)
    said = ravine(
        "train", tmp_path / "data", "--model", "wrn-10-1", "--quiet", "--out", tmp_path / "run",
        "--batch-size", "10", "--learning-rate", "0.01", "--set", "num_epochs=0.5",
        "--optimizer", "adamw",
    )  # fmt: skip

    assert said.code == 0, said.err
    settings, _ = read_recipe(tmp_path / "run" / "recipe.toml")
    assert (settings["batch"], settings["lr"], settings["epochs"]) == (10, 0.01, 0.5)
    assert settings["optimizer"] == "adam"
    assert not set(ALIASES) & set(settings)
    assert "is now called" not in said.err


def test_a_setting_under_two_names_is_refused(ravine) -> None:  # type: ignore[no-untyped-def]
    said = ravine("train", "@fashion", "--batch", "4", "--batch-size", "5")

    assert said.code == 2
    assert "batch_size is another name of batch, which is given too" in said.err
    with pytest.raises(SettingError, match="learning_rate is another name of lr"):
        Recipe.of({"learning_rate": 1.0, "lr": 2.0})
