"""Small pictures on disk, and a cache of the test's own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("RAVINE_CACHE", str(folder))
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes folders of different pictures: `tree({"cat": 3})` gives cat/000.png to cat/002.png."""

    def make(counts: Mapping[str, int], *, root: str = "pictures", size: int = 12) -> Path:
        rng = np.random.default_rng(0)
        for name, count in counts.items():
            folder = tmp_path / root / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        return tmp_path / root

    return make
