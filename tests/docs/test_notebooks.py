"""The notebooks run from their first cell to their last, and find what they say they find."""

import ast
import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "tutorials"


def cells_of(name: str) -> Iterator[str]:
    """Yields the code of each cell."""
    for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def run_cells(name: str) -> tuple[dict[str, Any], list[Any]]:
    """Runs a notebook's cells, and returns what they made and the value that each shows."""
    made: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for code in cells_of(name):
        tree = ast.parse(code)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), made)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), made)
            shown.append(value)
    return made, [value for value in shown if value is not None]


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with chdir(tmp_path):
        yield


@pytest.mark.slow
def test_images_become_a_submission(capsys: pytest.CaptureFixture[str]) -> None:
    made, shown = run_cells("images-to-submission")

    assert repr(shown[0]).startswith("wrn-10-1 on competition/train: ")
    assert "<table" in shown[0]._repr_html_()
    assert Path("submission.csv").read_text().startswith("id,label\n00400,")
    assert made["accuracy"] > 0.3
    assert "was taken for" in capsys.readouterr().out


def test_the_faults_of_the_loop_are_found_and_the_mended_one_learns() -> None:
    made, shown = run_cells("why-does-my-loop-not-learn")

    codes = set(made["findings"].codes) | {
        code for finding in made["findings"] for code in finding.symptoms
    }
    assert len(codes & {"softmax-twice", "not-in-optimizer", "gradients-not-cleared"}) == 3
    assert shown[0] is made["findings"]
    assert not made["monitor"].findings.of("critical")
    assert made["loss"].item() < 0.1 < made["losses"][-1]


@pytest.mark.slow
def test_a_race_ends_with_a_verdict(forked_jobs: None, capsys: pytest.CaptureFixture[str]) -> None:
    _, shown = run_cells("a-fair-race")

    assert str(shown[0]).startswith("race runs/race: ")
    assert "report.html winner.toml" in capsys.readouterr().out
    assert len(list(Path("runs/race/runs").glob("*-seed-*/model.safetensors"))) == 4
