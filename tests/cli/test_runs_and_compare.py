"""`ravine runs` and `ravine compare`, as a user reads them."""

import json
import shutil
from pathlib import Path

import pytest

from ravine.cli.runs import table_lines
from ravine.runs.folder import RunFolder
from ravine.runs.rows import write_json
from ravine.runs.run_list import list_runs


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """Returns a folder with a finished run, one that was killed, and a race of one run."""
    root = tmp_path / "runs"
    shutil.copytree(trained, root / "done")
    for name in (root / "killed", root / "race" / "runs" / "momentum"):
        shutil.copytree(trained, name)
        for file in ("evaluation.json", "model.safetensors"):
            (name / file).unlink()
    write_json(root / "race" / "race.json", {"base": {"model": "wrn-10-1"}})
    (root / "elsewhere").symlink_to(trained)
    return root


def test_each_run_has_a_line_with_what_it_is(ravine, folder: Path) -> None:  # type: ignore[no-untyped-def]
    said = ravine("runs", folder, "--sort", "name")

    assert said.code == 0
    head, *lines = said.out.splitlines()
    assert head.split()[:3] == ["run", "state", "accuracy"]
    assert [line.split()[:2] for line in lines] == [
        ["done", "ended"],
        ["killed", "stopped"],
        ["race", "stopped"],
        ["race/runs/momentum", "stopped"],
    ]
    assert "wrn-10-1" in lines[0]


def test_a_trial_that_its_race_has_ended_is_not_called_stopped(ravine, folder: Path) -> None:  # type: ignore[no-untyped-def]
    write_json(folder / "race" / "results.json", {"verdict": "Tied."})

    lines = ravine("runs", folder, "--sort", "name").out.splitlines()
    rows = [json.loads(line) for line in ravine("runs", folder, "--json").out.splitlines()]

    assert "ended by the race" in lines[-1]
    assert {row["name"]: row["by_race"] for row in rows}["race/runs/momentum"] == "ended"
    assert {row["name"]: row["by_race"] for row in rows}["killed"] == ""


def test_a_trial_waits_for_others_while_its_race_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = folder / "race"
    (race / "outcomes").mkdir()
    write_json(race / "outcomes" / "momentum@0.25.json", {"status": "paused"})
    assert {one.name: one.state_text for one in list_runs(folder)}["race/runs/momentum"] == (
        "stopped"
    )

    monkeypatch.setattr(RunFolder, "is_locked", property(lambda self: self.path == race))

    assert {one.name: one.state_text for one in list_runs(folder)}["race/runs/momentum"] == (
        "paused by the race"
    )


def test_the_rows_hold_the_numbers_of_the_files(ravine, folder: Path, trained: Path) -> None:  # type: ignore[no-untyped-def]
    rows = [json.loads(line) for line in ravine("runs", folder, "--json").out.splitlines()]
    result = json.loads((trained / "evaluation.json").read_text())
    done = next(row for row in rows if row["name"] == "done")

    assert done["accuracy"] == result["accuracy"]
    assert done["interval"] == result["interval"]
    assert done["step"] == done["total_steps"] > 0
    assert {row["kind"] for row in rows} == {"run", "race"}


def test_a_narrow_terminal_gets_fewer_columns(folder: Path) -> None:
    entries = list_runs(folder)

    for width in (40, 80, 200):
        lines = table_lines(entries, width=width)
        assert max(map(len, lines)) <= width
        assert lines[0].startswith("run")


def test_a_state_or_order_that_is_none_is_refused(ravine, folder: Path) -> None:  # type: ignore[no-untyped-def]
    for words in (["--state", "dead"], ["--sort", "luck"]):
        said = ravine("runs", folder, *words)
        assert said.code == 2
        assert words[1] in said.err


def test_two_runs_are_compared(ravine, folder: Path, trained: Path) -> None:  # type: ignore[no-untyped-def]
    recipe = folder / "killed" / "recipe.toml"
    shutil.copy(trained / "evaluation.json", folder / "killed" / "evaluation.json")
    recipe.write_text(recipe.read_text().replace("batch = 16", "batch = 32"))
    said = ravine("compare", folder / "done", folder / "killed")

    assert said.code == 0
    assert "batch  16    32" in said.out
    result = json.loads((trained / "evaluation.json").read_text())
    low, high = (100 * bound for bound in result["interval"])
    shown = f"{100 * result['accuracy']:.2f} % ({low:.1f}–{high:.1f})"
    assert said.out.count(shown) == 2
    assert "These images do not tell them apart: killed +0.00 points" in said.out
    assert "paired on" in said.out
    row = json.loads(ravine("compare", folder / "done", folder / "killed", "--json").out)
    assert row["settings"] == {"batch": [16, 32]}
    assert row["interval"][0] < 0 < row["interval"][1]
