"""A plain install brings no scipy: commands do without, and what needs it names its extra."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ravine

_BLOCKED = """
import sys

sys.modules["scipy"] = sys.modules["curvlinops"] = None
from ravine.cli.main import main
for command in sys.argv[1:]:
    sys.argv = ["ravine", *command.split()]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
SMALL = "noise.npz --model wrn-10-1 --batch 16 --epochs 1 --augment none --convolution guess"


def run(folder: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """Runs commands in a folder, until one fails, where scipy cannot be imported."""
    program = [sys.executable, "-W", "error", "-c", _BLOCKED, *commands]
    environment = {**os.environ, "RAVINE_CACHE": str(folder / "cache")}
    return subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with pictures and a run of them."""
    folder = tmp_path_factory.mktemp("trained")
    images = np.random.default_rng(0).integers(0, 256, (80, 8, 8), dtype=np.uint8)
    np.savez(folder / "noise.npz", images=images, labels=np.arange(80) % 2)
    done = run(folder, f"train {SMALL} --out run")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


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


@pytest.mark.longest
@pytest.mark.slow
def test_training_its_surface_and_a_race_do_without_scipy(trained: Path) -> None:
    done = run(
        trained,
        "landscape run --nodes 5 --images 32",
        f"race {SMALL} --optimizers momentum,adam --trials 2 --seeds 2 --out race",
        "race --function beale --optimizers momentum,adam --steps 20 --out beale",
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert (trained / "race" / "results.json").exists()
    assert (trained / "beale" / "results.json").exists()


def test_a_mat_file_without_scipy_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "train_32x32.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))

    done = run(tmp_path, "data train_32x32.mat")

    assert done.returncode == 2
    assert "pip install 'ravine[mat]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_sharpness_without_scipy_names_the_extra(trained: Path) -> None:
    done = run(trained, "landscape run --sharpness")

    assert done.returncode == 2
    assert "pip install 'ravine[landscape]'" in done.stderr
