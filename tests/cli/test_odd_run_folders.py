"""Run folders that are torn, lie, or hold something else than files: a line or a page, no more."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ravine.core.tensor_file import load_tensors, save_tensors

Command = Callable[..., "object"]
NESTED = "[" * 100_000
DIGITS = '{"step": ' + "9" * 5000 + "}"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", NESTED, DIGITS, '{"accuracy": "x"}'])
@pytest.mark.parametrize(
    "file",
    ["evaluation.json", "environment.json", "audit.json", "variance.json", "history.jsonl",
     "findings.jsonl", "layers.jsonl", "recipe.toml"],
)  # fmt: skip
def test_a_report_is_written_whatever_one_file_holds(  # type: ignore[no-untyped-def]
    ravine, run: Path, file: str, text: str
) -> None:
    (run / file).write_text(text)

    said = ravine("report", run)

    assert said.code == 0, said.err
    assert "</html>" in (run / "report.html").read_text()


ROWS = [
    '{"kind": "epoch"}',
    '{"kind": "epoch", "step": 1, "epoch": "x", "train_loss": 1}',
    '{"kind": "epoch", "step": 99, "epoch": 9, "interval": [1]}',
    '{"kind": "step", "step": 99}',
    '{"kind": "step", "step": 99, "epoch": 9.0}',
    '{"kind": "step", "step": true, "epoch": 1, "loss": []}',
    '{"kind": "rollback"}',
    '{"kind": "look", "step": 1e400, "layers": [], "parameters": {}}',
    '{"kind": "look", "step": 99, "layers": {"0": {"var": "x"}}, "parameters": {"a": {}}}',
    '{"kind": "not-finite", "step": -1}',
    '{"severity": 3, "code": []}',
    '{"severity": "warning", "code": "cost_$x^{2}$ $", "step": 3, "text": "t"}',
    '{"severity": "warning", "code": "a", "step": 3, "text": "t", "trial": "x"}',
    '{"severity": "warning", "code": "b", "step": "3", "layer": {"a": 1}}',
]


def _append(run: Path, text: str) -> None:
    for file in ("history.jsonl", "layers.jsonl", "findings.jsonl"):
        with (run / file).open("a") as lines:
            lines.write(text + "\n")


@pytest.mark.parametrize("row", ROWS)
def test_rows_that_are_not_whole_are_left_out(ravine, run: Path, row: str) -> None:  # type: ignore[no-untyped-def]
    _append(run, row)

    assert ravine("diagnose", run, "--rows-only").code == 0
    said = ravine("report", run)

    assert said.code == 0, said.err


@pytest.mark.usefixtures("figures")
def test_rows_that_are_not_whole_are_left_out_of_the_figures(ravine, run: Path) -> None:  # type: ignore[no-untyped-def]
    _append(run, "\n".join(ROWS))

    said = ravine("report", run)

    assert said.code == 0, said.err
    assert (run / "report.html").read_text().count("<svg") >= 3


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop"])
@pytest.mark.parametrize(
    "file", ["history.jsonl", "layers.jsonl", "evaluation.json", "report.html"]
)
def test_what_is_no_file_is_one_line_or_left_out(  # type: ignore[no-untyped-def]
    ravine, run: Path, file: str, kind: str
) -> None:
    (run / file).unlink(missing_ok=True)
    if kind == "folder":
        (run / file).mkdir()
    elif kind == "fifo":
        os.mkfifo(run / file)
    else:
        (run / file).symlink_to(file)

    for words in (["report", run], ["diagnose", run, "--rows-only"], ["resume", run, "-q"]):
        said = ravine(*words)
        assert said.code in (0, 2), said.err
        if said.code == 2:
            assert said.err.splitlines()[-1].startswith("ravine: ")
            assert file in said.err


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("environment.json", {"processes": "x"}),
        ("environment.json", {"processes": 0}),
        ("environment.json", {"seconds": 3}),
        ("environment.json", {"images_per_second": "fast"}),
        ("evaluation.json", {"confusion": [[1]]}),
        ("evaluation.json", {"confusion": None}),
        ("evaluation.json", {"interval": [0.1]}),
        ("evaluation.json", {"calibration": {"ece": 0.1}}),
        ("evaluation.json", {"mistakes": [{"image": 3}]}),
        ("evaluation.json", {"accuracy": 7}),
        ("audit.json", {"classes": [{"name": "a"}]}),
        ("audit.json", {"imbalance": {"ratio": "x"}}),
        ("audit.json", {"leakage": []}),
    ],
)
def test_values_that_lie_are_named_on_the_page_or_in_a_line(  # type: ignore[no-untyped-def]
    ravine, run: Path, file: str, values: dict[str, object]
) -> None:
    path = run / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    assert ravine("report", run).code == 0
    assert f"{file} does not hold what it should" in (run / "report.html").read_text()
    said = ravine("resume", run, "-q")
    assert said.code in (0, 2), said.err


def test_an_empty_recipe_is_one_line_for_a_surface(ravine, run: Path) -> None:  # type: ignore[no-untyped-def]
    (run / "recipe.toml").write_text("")

    said = ravine("landscape", run, "--nodes", "5")

    assert said.code == 2
    assert "names no data" in said.err


def test_a_file_in_the_place_of_the_surfaces_is_one_line(ravine, run: Path) -> None:  # type: ignore[no-untyped-def]
    (run / "landscape").write_text("x")

    said = ravine("landscape", run, "--nodes", "5", "-q")

    assert said.code == 2
    assert said.err.startswith(f"ravine: cannot write {run / 'landscape'}")


def test_weights_that_are_no_numbers_predict_nothing(ravine, run: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    tensors, about = load_tensors(run / "model.safetensors")
    name = next(name for name, value in tensors.items() if value.dim() == 4)
    tensors[name][0] = float("nan")
    save_tensors(run / "model.safetensors", tensors, about)
    data = json.loads((run / "audit.json").read_text())["data"]

    for words in (["predict", run, data, "--out", tmp_path / "p.csv"], ["evaluate", run, data]):
        said = ravine(*words)
        assert said.code == 2
        assert f"{name} is not finite, so the network predicts nothing" in said.err
    assert not (tmp_path / "p.csv").exists()
