"""Runs whose convolutions are named: by an algorithm, or by the best guess without measuring."""

from pathlib import Path

import numpy as np
import pytest

import ravine
from ravine.core.errors import SettingError
from ravine.core.events import Event, Notice
from ravine.kernels.library import LEVELS, load_library
from ravine.runs.folder import RunFolder
from ravine.runs.kernel_plan_file import read_kernel_plan

SETTINGS = {
    "model": "resnet-cifar-8", "batch": 16, "epochs": 0.3, "device": "cpu", "threads": 1,
    "precision": "float32", "monitor": 0.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    path = tmp_path / "noise.npz"
    images = chance.integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(80) % 2)
    return path


def algorithms_of(run: Path) -> dict[tuple[int, int], str]:
    """Returns the algorithms by (kernel, stride), of shapes with 16 channels or more."""
    plan = read_kernel_plan(RunFolder(run).kernel_plan)
    assert plan is not None
    assert not any(entry.seconds for entry in plan.entries)  # nothing was measured
    return {
        (e.shape.kernel, e.shape.stride): e.algorithm
        for e in plan.entries
        if e.shape.channels >= 16
    }


def skip_without(level: str) -> None:
    library = load_library()
    if library is None or library.level < LEVELS.index(level):
        pytest.skip(f"no {level} here")


def test_a_named_algorithm_runs_what_it_can_and_the_best_guess_the_rest(
    noise: Path, tmp_path: Path
) -> None:
    skip_without("base")
    ravine.train(noise, out=tmp_path / "run", convolution="winograd-4", **SETTINGS)
    found = algorithms_of(tmp_path / "run")
    assert found[3, 1] == "winograd-4"
    assert found[3, 2] in ("direct", "torch")  # the better guess


def test_a_guess_measures_nothing_and_two_runs_are_alike_to_the_bit(
    noise: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []
    for name in ("one", "two"):
        out = tmp_path / name
        ravine.train(noise, out=out, convolution="guess", observers=[seen.append], **SETTINGS)
        assert algorithms_of(out)
    assert not any("measured in" in event.text for event in seen if isinstance(event, Notice))
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_named_algorithm_that_can_run_nothing_here_is_refused_in_one_line(
    noise: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=r"convolution=tiles .* none of this network's") as found:
        ravine.train(noise, out=tmp_path / "run", convolution="tiles", **SETTINGS)
    assert "use auto" in str(found.value)
    assert "\n" not in str(found.value)


def test_f_4_in_bfloat16_runs_by_name_only(noise: Path, tmp_path: Path) -> None:
    library = load_library()
    if library is None or library.level_name != "avx512-bf16":
        pytest.skip("no AVX512-BF16 here")
    settings = {**SETTINGS, "precision": "bfloat16"}
    ravine.train(noise, out=tmp_path / "named", convolution="winograd-4", **settings)
    ravine.train(noise, out=tmp_path / "guess", convolution="guess", **settings)
    assert algorithms_of(tmp_path / "named")[3, 1] == "winograd-4"
    assert algorithms_of(tmp_path / "guess")[3, 1] in ("winograd-2", "torch")
