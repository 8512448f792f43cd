"""A small data set of pictures that a small network can learn."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """Returns an .npz of 8×8 pictures: across, along, or no stripes, with noise."""
    chance = np.random.default_rng(0)
    labels = np.arange(240) % 3
    pictures = chance.integers(0, 60, (240, 8, 8))
    pictures[labels == 0, ::2, :] += 150
    pictures[labels == 1, :, ::2] += 150
    path = tmp_path / "stripes.npz"
    np.savez(path, images=pictures.astype(np.uint8), labels=labels)
    return path
