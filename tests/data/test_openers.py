"""Photos of telephones: counted with a remedy, and read where the opener is installed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.data.openers import register_openers
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

Tree = Callable[..., Path]

# Stands in for the plug-in where it is not installed: PNG under another ending.
PLUGIN = """
from PIL import Image

def register_heif_opener():
    Image.register_extension("PNG", ".heic")
"""


@pytest.fixture
def photos(tree: Tree) -> Path:
    root = tree({"cat": 8, "dog": 3})
    for path in sorted((root / "cat").iterdir())[:5]:
        path.rename(path.with_suffix(".HEIC"))
    return root


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "pillow_heif.py").write_text(PLUGIN)
    Image.init()
    monkeypatch.setattr(Image, "EXTENSION", dict(Image.EXTENSION))
    monkeypatch.syspath_prepend(str(folder))
    register_openers.cache_clear()
    yield
    sys.modules.pop("pillow_heif", None)
    register_openers.cache_clear()


@pytest.fixture
def no_plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("ravine.data.openers.find_spec", lambda _: None)
    Image.init()
    known = {k: v for k, v in Image.EXTENSION.items() if k not in (".heic", ".heif", ".hif")}
    monkeypatch.setattr(Image, "EXTENSION", known)
    register_openers.cache_clear()
    yield
    register_openers.cache_clear()


@pytest.mark.usefixtures("no_plugin")
def test_heic_is_counted_and_named_with_a_remedy(photos: Path) -> None:
    found = open_dataset(DataSettings(data=str(photos)), seed=0)
    assert found.audit["count"] == 6
    assert "5 .heic" in found.audit["understood"]["line"]
    assert "convert" in found.audit["understood"]["line"]


@pytest.mark.usefixtures("plugin")
def test_heic_is_read_where_its_opener_is_installed(photos: Path) -> None:
    found = open_dataset(DataSettings(data=str(photos), cache=False), seed=0)
    assert found.audit["count"] == 11
    assert found.audit["unreadable"] == []
    assert sum(name.endswith(".HEIC") for name in found.names) == 5
    assert np.bincount(found.labels).tolist() == [8, 3]


def test_photos_of_telephones_are_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    register_openers.cache_clear()
    for name, grey in (("cat", 60), ("dog", 200)):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = np.full((48, 64, 3), grey + number, np.uint8)
            pixels[:, 32:] = 255 - grey
            path = tmp_path / name / f"{number}.{('heic', 'HEIF')[number % 2]}"
            heif.from_bytes("RGB", (64, 48), pixels.tobytes()).save(path, quality=90)
    found = open_dataset(DataSettings(data=str(tmp_path), cache=False), seed=0)
    assert found.audit["unreadable"] == []
    assert np.bincount(found.labels).tolist() == [4, 4]
    left, right = found.images[0][:, :8].mean(), found.images[0][:, -8:].mean()
    assert (abs(left - 60) < 4, abs(right - 195) < 4) == (True, True)
