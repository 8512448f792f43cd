"""Where a run stands: running while its lock is held, stopped when nobody holds it, ended."""

from pathlib import Path

import pytest

from ravine.runs.folder import RunFolder
from ravine.runs.recipe_file import write_recipe
from ravine.runs.rows import append_row
from ravine.runs.run_state import read_state


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    plan = {
        "total_steps": 140,
        "corrections": [{"step": 5, "total_steps": 120}, {"step": 9, "total_steps": 90}],
    }
    write_recipe(folder.recipe, {"model": "wrn-10-1"}, plan)
    epoch = {"kind": "epoch", "epoch": 3, "step": 30, "accuracy": 0.8, "interval": [0.7, 0.9]}
    append_row(folder.history, epoch)
    row = {"kind": "step", "step": 36, "epoch": 3.6, "loss": 1.5, "elapsed": 12.0}
    append_row(folder.history, row)
    return folder


def test_a_run_whose_lock_is_held_is_running_and_says_what_is_left(folder: RunFolder) -> None:
    with folder.locked():
        state = read_state(folder)

    assert state.kind == "running"
    assert (state.step, state.total_steps, state.epoch, state.loss) == (36, 90, 3.6, 1.5)
    assert state.left == pytest.approx((90 - 36) * 12 / 36)
    assert (state.accuracy, state.interval) == (0.8, (0.7, 0.9))


def test_a_plan_of_before_and_one_that_stops_early_have_their_ends(folder: RunFolder) -> None:
    end = {"step": 30, "total_steps": 40}
    for name in ("correction", "stop"):
        assert read_state(folder, plan={"total_steps": 140, name: end}).total_steps == 40
    assert read_state(folder, plan={"total_steps": 140, "corrections": 3}).total_steps == 140


def test_a_run_that_nobody_works_on_was_stopped(folder: RunFolder) -> None:
    with folder.locked():
        pass
    state = read_state(folder)

    assert state.kind == "stopped"
    assert state.left is None


def test_a_run_with_its_weights_has_ended_also_while_its_report_is_written(
    folder: RunFolder,
) -> None:
    folder.model.write_bytes(b"")
    with folder.locked():
        assert read_state(folder).kind == "ended"


def test_to_ask_does_not_keep_a_run_from_starting(folder: RunFolder) -> None:
    with folder.locked():
        assert folder.is_locked
    assert not folder.is_locked
    with folder.locked():
        pass


def test_a_folder_that_holds_nothing_is_a_run_that_was_stopped(tmp_path: Path) -> None:
    state = read_state(RunFolder(tmp_path / "none"))

    assert (state.kind, state.step, state.total_steps) == ("stopped", 0, None)
