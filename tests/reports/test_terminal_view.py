"""The terminal's view: it fits the terminal, and a file gets a line per epoch."""

import json
from pathlib import Path

import pytest

from ravine.reports.live.braille import braille_curve, thinned
from ravine.reports.live.terminal_view import EpochLines, TerminalView
from ravine.runs.rows import append_row

from .conftest import make_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs" / "a-run-of-a-long-name-that-takes-some-room", 200, seed=1)
    make_run(tmp_path / "runs" / "killed", 100, ended=False)
    return tmp_path / "runs"


@pytest.mark.parametrize(("width", "height"), [(40, 20), (80, 24), (200, 60)])
def test_the_screen_fits_the_terminal(root: Path, width: int, height: int) -> None:
    view = TerminalView(root, chosen="a-run-of-a-long-name-that-takes-some-room")
    view.refresh()
    lines = [str(line) for line in view.lines(width=width, height=height)]

    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "stopped" in text
    assert "loss: " in text
    assert "warning overfitting" in text


def test_runs_of_one_race_are_told_apart_where_their_names_are_cut(tmp_path: Path) -> None:
    for name in ("adam-trial-0", "adam-trial-1"):
        make_run(tmp_path / f"a-race-of-a-long-name-{name}", 20, seed=1)
    view = TerminalView(tmp_path)
    view.refresh()
    text = "\n".join(line.plain for line in view.lines(width=72, height=30))

    assert all(f"{name} " in text for name in ("adam-trial-0", "adam-trial-1"))


def test_a_folder_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ravine.reports.live.run_table._EVERY", 0.0)
    view = TerminalView(tmp_path / "runs")
    view.refresh()
    assert view.entries == []

    make_run(tmp_path / "runs" / "first", 20)
    view.refresh()

    assert [one.name for one in view.entries] == ["first"]


def test_a_pipe_gets_where_each_run_stands_and_then_a_line_per_epoch(root: Path) -> None:
    lines = EpochLines(root)
    first = lines.new_lines()
    assert [line.partition(": ")[2][:7] for line in first] == ["ended: ", "stopped"]
    assert lines.new_lines() == []


def test_a_run_that_trains_has_a_line_for_each_epoch(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ravine.reports.live.run_table._EVERY", 0.0)
    monkeypatch.setattr("ravine.runs.folder.RunFolder.is_locked", True)
    lines = EpochLines(root)
    lines.new_lines()
    row = {"kind": "epoch", "step": 110, "epoch": 22.0, "train_loss": 0.5, "accuracy": 0.875}
    append_row(root / "killed" / "history.jsonl", row)

    (line,) = lines.new_lines()
    assert line.startswith("killed: epoch 22  loss 0.500  validation 87.50%  loss –")


def test_a_curve_has_its_largest_value_above_and_its_least_below() -> None:
    drawn = braille_curve([float(k) for k in range(80)], width=20, height=4)

    assert drawn[0].strip()
    assert drawn[0][:10].strip() == ""
    assert drawn[-1][:5].strip()
    assert drawn[-1][-10:].strip() == ""
    assert braille_curve([], width=3, height=2) == ["   ", "   "]


def test_a_thinned_curve_keeps_its_mean() -> None:
    assert thinned([1.0, 3.0, float("nan"), 5.0], 2) == [2.0, 5.0]
    assert json.dumps(thinned([1.0], 5)) == "[1.0]"
