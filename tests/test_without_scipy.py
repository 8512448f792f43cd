"""A plain install brings no scipy: commands do without, and what needs it names its extra."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ravine

_BLOCKED = """
import sys

sys.modules["scipy"] = sys.modules["curvlinops"] = None
from ravine.cli.main import main
sys.argv[0] = "ravine"
main()
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, where scipy cannot be imported."""
    command = [sys.executable, "-W", "error", "-c", _BLOCKED, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def imported(path: Path) -> set[str]:
    """Returns the libraries that a file names in its imports, `lazy_module` included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.partition(".")[0])
    return found


def test_scipy_is_named_only_by_what_an_extra_brings() -> None:
    root = Path(ravine.__file__).parent
    found = {str(p.relative_to(root)) for p in root.rglob("*.py") if "scipy" in imported(p)}

    assert found == {"data/sources/svhn.py", "landscapes/hessian.py"}


@pytest.mark.slow
def test_training_its_surface_and_a_race_do_without_scipy(tmp_path: Path) -> None:
    small = ("@fashion", "--model", "wrn-10-1", "--batch", "16", "--epochs", "0.02")
    for command in (
        ("train", *small, "--out", "run"),
        ("landscape", "run", "--nodes", "5", "--images", "32"),
        ("race", *small, "--optimizers", "momentum,adam", "--trials", "2", "--seeds", "2"),
        ("race", "--function", "beale", "--optimizers", "momentum,adam", "--steps", "20"),
    ):
        done = run(tmp_path, *command)
        assert done.returncode == 0, done.stderr[-2000:]


def test_a_mat_file_without_scipy_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "train_32x32.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))

    done = run(tmp_path, "data", "train_32x32.mat")

    assert done.returncode == 2
    assert "pip install 'ravine[mat]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_sharpness_without_scipy_names_the_extra(tmp_path: Path) -> None:
    small = ("@fashion", "--model", "wrn-10-1", "--batch", "16", "--epochs", "0.02")
    assert run(tmp_path, "train", *small, "--out", "run").returncode == 0

    done = run(tmp_path, "landscape", "run", "--sharpness")

    assert done.returncode == 2
    assert "pip install 'ravine[landscape]'" in done.stderr
