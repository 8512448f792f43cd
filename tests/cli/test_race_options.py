"""An option of `ravine race` without effect is refused by name, with its remedy and exit code 2."""

from pathlib import Path

import pytest

from ravine.cli.race_options import FUNCTION_ONLY
from ravine.workflows.recipe import Recipe

ON_FUNCTION = {
    "steps": "10", "start": "1,1", "domain": "-1:2,-1:2", "starts": "5", "tune": "lr", "mp4": None,
}  # fmt: skip
OF_IMAGES = {
    "vary": "init=he,xavier", "seeds": "3", "equal": "epochs", "target": "0.9", "early": None,
    "no-early": None, "jobs": "1", "memory": "4G", "limit": "10min", "ray": "auto", "plane": None,
    "recipe": "fast",
}  # fmt: skip
OF_A_NEW_RACE = {
    "optimizers": "adam,nadam", "trials": "3",
    **{name: value for name, value in OF_IMAGES.items() if name not in ("jobs", "ray", "recipe")},
}  # fmt: skip
OF_A_RECIPE = [name for name in Recipe.model_fields if name not in ("data", "lr", "seed")]


def flag(name: str, value: str | None) -> list[str]:
    # With "=", since a value such as -1:2,-1:2 begins as an option does.
    return [f"--{name}" if value is None else f"--{name}={value}"]


def named(name: str) -> str:
    return "--early" if name == "no-early" else f"--{name}"


def refusal(said: object) -> str:
    """The one line of a command that ended with exit code 2."""
    assert said.code == 2  # type: ignore[attr-defined]
    assert said.out == ""  # type: ignore[attr-defined]
    (line,) = said.err.splitlines()  # type: ignore[attr-defined]
    return str(line)


def test_the_options_of_functions_are_all_listed_here() -> None:
    assert set(ON_FUNCTION) == FUNCTION_ONLY


@pytest.mark.parametrize("name", ON_FUNCTION)
def test_an_option_of_functions_is_refused_on_images(ravine, name: str) -> None:  # type: ignore[no-untyped-def]
    line = refusal(ravine("race", "@fashion", *flag(name, ON_FUNCTION[name])))
    assert line == (
        f"ravine: --{name} has no effect on a race on images; add --function beale, or leave it out"
    )


@pytest.mark.parametrize("name", OF_IMAGES)
def test_an_option_of_images_is_refused_on_a_function(ravine, name: str) -> None:  # type: ignore[no-untyped-def]
    line = refusal(ravine("race", "--function", "beale", *flag(name, OF_IMAGES[name])))
    assert line == (
        f"ravine: {named(name)} has no effect on a race on --function beale; leave it out"
    )


@pytest.mark.parametrize("name", OF_A_RECIPE)
def test_a_setting_of_a_recipe_is_refused_on_a_function(ravine, name: str) -> None:  # type: ignore[no-untyped-def]
    line = refusal(ravine("race", "--function", "beale", "--set", f"{name}=1"))
    assert f"--{name.replace('_', '-')} has no effect on a race on --function beale" in line


def test_a_setting_by_its_own_option_is_refused_on_a_function(ravine) -> None:  # type: ignore[no-untyped-def]
    line = refusal(ravine("race", "--function", "beale", "--model", "wrn-16-2"))
    assert "--model has no effect on a race on --function beale" in line


def test_images_are_refused_beside_a_function(ravine) -> None:  # type: ignore[no-untyped-def]
    line = refusal(ravine("race", "photos", "--function", "beale"))
    assert "DATA has no effect on a race on --function beale" in line


@pytest.mark.parametrize("name", OF_A_NEW_RACE)
def test_a_setting_is_refused_where_a_race_goes_on(ravine, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    line = refusal(ravine("race", "--out", tmp_path, *flag(name, OF_A_NEW_RACE[name])))
    assert line == (
        f"ravine: {named(name)} has no effect on a race that goes on as it began; "
        "leave it out, or name the images, and another --out, for a new race"
    )


def test_a_setting_of_the_recipe_is_refused_where_a_race_goes_on(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    line = refusal(ravine("race", "--out", tmp_path, "--epochs", "3"))
    assert "--epochs has no effect on a race that goes on" in line


def test_a_default_in_so_many_words_is_refused_too(ravine) -> None:  # type: ignore[no-untyped-def]
    """What counts is the command line, not the value."""
    assert "--steps has no effect" in refusal(ravine("race", "@fashion", "--steps", "300"))


def test_the_images_are_named_once(ravine) -> None:  # type: ignore[no-untyped-def]
    line = refusal(ravine("race", "a", "--set", "data=b", "--optimizers", "adam,nadam"))
    assert line == "ravine: the images are given twice: a and --set data=b"


def test_options_with_effect_on_a_function_are_taken(ravine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    said = ravine(
        "race", "--function", "beale", "--optimizers", "adam", "--lr", "adam=0.1", "--seed", "1",
        "--trials", "3", "--steps", "3", "--start", "1,1", "--domain=-4:4,-4:4", "--starts", "2",
        "--tune", "lr", "--out", tmp_path / "race", "--quiet",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert (tmp_path / "race" / "race.gif").is_file()
