"""A user's mistake on the screen: at most 200 letters a line, and a remedy that can be typed."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.cli.error_line import MOST, error_lines

LONG = "/home/somebody/" + "a-folder-of-somebody/" * 12 + "photos"


def test_what_fits_stays_as_it_is() -> None:
    text = "no such path: photos; name a folder, or @fashion"
    assert error_lines(text) == [f"ravine: {text}"]


def test_a_long_path_is_shortened_in_its_middle() -> None:
    (line,) = error_lines(f"{LONG} holds one class only, 'cat'; a classifier needs two or more")
    assert len(line) <= MOST
    assert line.startswith("ravine: /home/some…")
    assert line.endswith("photos holds one class only, 'cat'; a classifier needs two or more")


def test_a_command_to_type_is_a_line_of_its_own_and_whole() -> None:
    command = f"ravine train {LONG}/train --labels {LONG}/train.csv"
    lines = error_lines(f"{LONG}: test/, train/ hold no class folders; train.csv labels: {command}")
    assert lines[1] == command
    assert shlex.split(lines[1])[-1] == f"{LONG}/train.csv"
    assert len(lines[0]) <= MOST
    assert lines[0].endswith("hold no class folders; train.csv labels:")


def test_a_long_list_loses_its_end_and_says_how_many_there_are() -> None:
    names = ", ".join(f"pixel{n}" for n in range(785))
    (line,) = error_lines(f"t.csv: no label among {names}; name it with --label-column")
    assert len(line) <= MOST
    assert "pixel0, pixel1, pixel2," in line
    assert "(785 in all)" in line
    assert line.endswith("; name it with --label-column")


def test_a_value_to_type_after_an_option_is_not_shortened() -> None:
    column = "a_column_with_a_name_that_is_rather_long_indeed_as_they_are"
    (line,) = error_lines(f"{LONG} has images in two columns; name one: --image-column {column}")
    assert line.endswith(f"--image-column {column}")
    assert len(line) <= MOST


@pytest.mark.parametrize("letters", ["x" * 5000, "x " * 900, "a, " * 4000, "; ".join(["ab"] * 900)])
def test_nothing_is_longer_than_the_most(letters: str) -> None:
    assert [len(line) <= MOST for line in error_lines(letters)] == [True]


@given(st.text(alphabet="ab ,;:'/-…", max_size=900))
def test_any_message_begins_as_it_did(text: str) -> None:
    lines = error_lines(text)
    assert all(len(line) <= MOST for line in lines)
    assert lines[0].startswith("ravine: ")
    assert lines[0][:18] == f"ravine: {' '.join(text.split())}"[:18]
