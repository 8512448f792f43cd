"""What a command loads: help, tables and mistakes load neither torch nor plots."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "scipy", "matplotlib", "jinja2", "imageio", "curvlinops", "PIL", "sympy"}

# Forks a child for each command; prints what it loaded. What is Ravine's own of it is loaded here
# too, once for the children after it: were it heavy, they would be so too.
_FORKS = """
import importlib, json, os, sys
from ravine.cli.main import main
for words in json.loads(sys.argv[1]):
    sys.stdout.flush()
    reading, writing = os.pipe()
    if not os.fork():
        os.dup2(writing, 1), os.dup2(writing, 2)
        sys.argv = ["ravine", *words]
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        print()
        print(json.dumps([code, sorted(sys.modules)]))
        sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    with open(reading) as said:
        *text, last = said.read().splitlines()
    code, modules = json.loads(last)
    print(json.dumps([" ".join(text), code, [name for name in modules if "." not in name]]))
    os.wait()
    for name in modules:
        if name.startswith("ravine.") and "kernels" not in name:
            importlib.import_module(name)
"""
RUNS = ("resume", "diagnose", "landscape", "report")
CASES: dict[str, tuple[int, str]] = {
    "--help": (0, "ravine train @fashion"),
    "--version": (0, "ravine 0."),
    "models": (0, "wrn-D-K"),
    "trian photos": (2, "Did you mean 'train'?"),
    "train --help": (0, "Examples"),
    "train nosuch": (2, "no such path: nosuch"),
    "train @fashion --modell wrn-16-4": (2, "No such option: --modell"),
    "train @fashion --model resnet18": (2, "did you mean 'resnet-18'"),
    "train @fashion --model wrn-17-4": (2, "nearest that work: 16 and 22"),
    "train @fashion --model alexnet --norm group": (2, "norm=group"),
    "train @fashion --lr fast": (
        2,
        "lr: input should be a valid number or 'auto', got 'fast'",
    ),
    "train @fashion --optimizer adm": (2, "did you mean 'adam'"),
    "train @fashion --schedule cosinus": (2, "did you mean 'cosine'"),
    "train @fashion --device mps": (2, "device"),
    "train @fashion --recipe none.toml": (2, "no recipe none.toml"),
    "train @fashion --out taken": (2, "exists already"),
    "check nosuch": (2, "no such path: nosuch"),
    "check @fashion --model wrn-16-2,resnet18": (2, "did you mean 'resnet-18'"),
    "race nosuch --optimizers adam,nadam": (2, "no such path: nosuch"),
    "race @fashion --optimizers adam,nadma": (2, "did you mean 'nadam'"),
    "evaluate nosuch photos": (2, "no run folder nosuch"),
    "predict nosuch photos": (2, "no run folder nosuch"),
    "bench resnet18": (2, "did you mean 'resnet-18'"),
    "train @fashion --optimizer sgd": (2, "optimizer 'sgd' is momentum or nesterov here"),
    "export nosuch --format tflite": (2, "unknown format 'tflite'. Known: onnx, pt2"),
    "export": (2, "there is no run in runs"),
    "resume nosuch --epochs 3": (2, "ravine train --weights RUN --epochs"),
    **{f"{command} nosuch": (2, "no run folder nosuch") for command in RUNS},
    **{f"{command} taken": (2, "holds no recipe.toml") for command in RUNS},
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int, set[str]]]:
    """Returns what each command printed, how it ended and what it had loaded."""
    here = tmp_path_factory.mktemp("here")
    (here / "taken").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, json.dumps([words.split() for words in CASES])],
        env={**os.environ, "COLUMNS": "120", "OMP_NUM_THREADS": "1"},
        cwd=here,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        words: (text, code, set(modules))
        for words, (text, code, modules) in zip(CASES, rows, strict=True)
    }


@pytest.mark.parametrize("words", CASES)
def test_help_tables_and_mistakes_load_neither_torch_nor_plots(
    ended: dict[str, tuple[str, int, set[str]]], words: str
) -> None:
    text, code, modules = ended[words]
    expected_code, message = CASES[words]

    assert (code, message in text) == (expected_code, True), text
    assert "ravine" in modules
    assert not modules & HEAVY


def test_nothing_is_written_by_a_mistake(tmp_path: Path, ravine, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for words in ("train nosuch", "train @fashion --model wrn-17-4", "check nosuch"):
        assert ravine(*words.split()).code == 2

    assert list(tmp_path.iterdir()) == []


def test_a_warning_of_a_library_is_one_line_without_its_source():
    code = (
        "import sys, warnings\n"
        "from ravine.cli.main import main\n"
        "sys.argv = ['ravine', '--version']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        "warnings.warn('works more slowly:\\n  it was not built')\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stderr == "warning: works more slowly: it was not built\n"
