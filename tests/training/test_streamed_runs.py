"""Decoding images while a run trains changes none of its weights."""

import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import ravine
from ravine.runs.checkpoints import checkpoint_paths
from ravine.runs.rows import read_json

_SETTINGS = {
    "model": "wrn-10-1",
    "image_size": 16,
    "batch": 16,
    "device": "cpu",
    "threads": 1,
    "epochs": 2,
    "augment": "flip,crop",
    "convolution": "guess",  # measured plans may differ
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(0)
    for number in range(120):
        rough = chance.integers(0, 120, (6, 6, 3), dtype=np.uint8)
        rough[(slice(None, None, 2), slice(None))[:: 1 if number % 2 else -1]] += 100
        folder = root / ("across" if number % 2 else "along")
        folder.mkdir(exist_ok=True)
        picture = Image.fromarray(rough).resize((48, 40))
        picture.save(folder / f"{number:03d}.jpg", quality=90)
    return root


@pytest.fixture(scope="module")
def in_memory(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    place = tmp_path_factory.mktemp("run")
    ravine.train(photos, out=place / "run", stream="off", **_SETTINGS)
    return load_file(place / "run" / "model.safetensors")


def _same(run: Path, weights: dict[str, torch.Tensor]) -> bool:
    found = load_file(run / "model.safetensors")
    return found.keys() == weights.keys() and all(
        torch.equal(found[name], weights[name]) for name in weights
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_training_is_bitwise_that_in_memory(
    photos: Path, tmp_path: Path, in_memory: dict[str, torch.Tensor], workers: int
) -> None:
    ravine.train(photos, out=tmp_path / "run", stream="on", workers=workers, **_SETTINGS)
    assert _same(tmp_path / "run", in_memory)
    audit = read_json(tmp_path / "run" / "audit.json")
    assert audit["reading"] == {"streamed": True, "why": "as asked"}


def test_another_order_would_be_seen(
    photos: Path, tmp_path: Path, in_memory: dict[str, torch.Tensor]
) -> None:
    ravine.train(photos, out=tmp_path / "run", stream="on", seed=1, **_SETTINGS)
    assert not _same(tmp_path / "run", in_memory)


def test_training_from_shards_is_bitwise_that_from_folders(
    photos: Path, tmp_path: Path, in_memory: dict[str, torch.Tensor]
) -> None:
    (tmp_path / "shards").mkdir()
    paths = sorted(photos.glob("*/*.jpg"))
    for number, part in enumerate((paths[:50], paths[50:])):
        with tarfile.open(tmp_path / "shards" / f"part-{number}.tar", "w") as file:
            for path in part:
                file.add(path, path.relative_to(photos).as_posix())
    ravine.train(tmp_path / "shards", out=tmp_path / "run", stream="on", **_SETTINGS)
    assert _same(tmp_path / "run", in_memory)


@pytest.mark.slow
def test_a_streamed_run_that_is_killed_is_resumed_bitwise(
    photos: Path, tmp_path: Path, in_memory: dict[str, torch.Tensor]
) -> None:
    chosen = {**_SETTINGS, "stream": "on", "workers": 1, "checkpoint_every": 0.0}
    folder = tmp_path / "run"
    code = (
        "import os, signal, sys, ravine\n"
        "from ravine.core.events import StepDone\n"
        "def kill(event):\n"
        "    if isinstance(event, StepDone) and event.step == 5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"ravine.train(sys.argv[1], out=sys.argv[2], observers=[kill], **{chosen})\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, photos, folder], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert checkpoint_paths(folder / "checkpoints")
    assert not (folder / "model.safetensors").exists()
    ravine.resume(folder)
    assert _same(folder, in_memory)
