"""`ravine landscape` on a run that kept its weights along the way."""

import json
from pathlib import Path

import numpy as np
import pytest

from ravine import Surface, train
from ravine.core.errors import RunError
from ravine.core.tensor_file import load_tensors
from ravine.workflows.landscape import run_surface

from .conftest import Command

pytestmark = pytest.mark.slow  # many seconds


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.integers(0, 120, (60, 8, 8, 1), dtype=np.uint8) + 100 * labels[
        :, None, None, None
    ].astype(np.uint8)
    np.savez(root / "data.npz", x_train=images, y_train=labels)
    common = {"model": "wrn-10-1", "batch": 12, "epochs": 2, "device": "cpu"}
    common |= {"convolution": "guess"}  # measured plans may differ
    train(root / "data.npz", out=root / "a", keep_weights=4, **common)
    train(root / "data.npz", out=root / "b", **common)
    return root


def test_a_run_keeps_its_weights_at_steps_of_the_plan(runs: Path) -> None:
    paths = sorted((runs / "a" / "weights").iterdir())
    tensors, about = load_tensors(paths[0])

    assert len(paths) == 4
    assert about == {"step": 0, "epoch": 0.0}
    assert tensors.keys() == load_tensors(runs / "a" / "model.safetensors")[0].keys()
    assert not (runs / "b" / "weights").exists()
    # Keeping weights changes nothing of the training.
    same = [(runs / name / "model.safetensors").read_bytes() for name in "ab"]
    assert same[0] == same[1]


def test_the_command_draws_the_trajectory_and_says_where(ravine: Command, runs: Path) -> None:
    done = ravine("landscape", runs / "a", "--nodes", 7, "--images", 24, "--json", "--quiet")

    assert done.code == 0, done.err
    row = json.loads(done.out.splitlines()[-1])
    assert row["nodes"] == 49
    *names, report = (Path(file).name for file in row["files"])
    assert names == [f"trajectory-default-0.{kind}" for kind in ("npz", "png", "svg", "html")]
    assert 'id="surfaces"' in (runs / "a" / report).read_text()
    surface = Surface.load(row["files"][0])
    assert np.isfinite(surface.trajectory["loss"]).all()
    np.testing.assert_allclose(surface.trajectory["epoch"][[0, -1]], [0, 2])


def test_a_line_between_two_runs(runs: Path) -> None:
    surfaces, _ = run_surface(
        runs / "a", to=[runs / "b"], x=(0.0, 1.0, 3), images=24, device="cpu", out=runs / "line"
    )

    assert surfaces[0].about["policy"] == "re-estimated"
    np.testing.assert_allclose(surfaces[0].loss, surfaces[0].loss[0, 0], rtol=1e-4)


OWN = """
from torch import nn

def net(classes, channels):
    pool = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, classes)]
    return nn.Sequential(nn.Conv2d(channels, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), *pool)
"""


def test_sharpness_and_convexity_of_a_network_of_ones_own(
    ravine: Command, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "own.py").write_text(OWN)
    monkeypatch.chdir(runs)
    monkeypatch.syspath_prepend(str(runs))
    train("data.npz", out="own", model="own:net", batch=12, epochs=1, device="cpu")
    asked = ["--nodes", "5", "--images", "8", "--along", "line", "--json", "--quiet"]
    more = ["--model", "own:net", "--sharpness", "--convexity", "2"]
    done = ravine("landscape", "own", *asked, *more)

    assert done.code == 0, done.err
    row = json.loads(done.out.splitlines()[-1])
    names = [Path(file).name for file in row["files"]]
    assert "line-default-0-sharpness.png" in names
    assert "line-default-0-sharpness.svg" in names
    surface = Surface.load(row["files"][0])
    found = surface.sharpness
    assert row["eigenvalues"] == found["eigenvalues"].tolist()
    assert (np.diff(found["eigenvalues"]) <= 0).all()
    assert found["convexity"].shape == (1, 2)
    assert found["along"].shape == (1,)
    assert row["non_convex"] == surface.about["roughness"]["non_convex"]
    assert "line-default-0-sharpness" in (runs / "own" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["b", "--along", "trajectory"], "train again with --keep-weights 20"),
        (["a", "--x", "1:2"], "is not from:to:nodes"),
        (["a", "--policy", "frozen"], "unknown policy 'frozen'"),
        (["a", "--budget", "0.001s", "--seed", "9"], "is too short"),
        (["nothing"], "no run folder"),
    ],
)
def test_a_mistake_is_one_line(ravine: Command, runs: Path, words: list[str], message: str) -> None:
    done = ravine("landscape", runs / words[0], *words[1:], "--quiet")

    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_run_without_weights_along_the_way_says_so(runs: Path) -> None:
    with pytest.raises(RunError, match="kept no weights"):
        run_surface(runs / "b", along="trajectory")
