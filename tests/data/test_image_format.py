"""Size and channels follow from all images, not from those that were looked at first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.data.dataset import Dataset
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

Tree = Callable[..., Path]


def _open(data: Path, **settings: object) -> Dataset:
    return open_dataset(DataSettings.of({"data": str(data), **settings}), seed=0)


def _grey(path: Path, side: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    for number in range(12):
        _grey(tmp_path / "grey" / "ab"[number % 2] / f"{number}.png", 20, number)
    return tmp_path / "grey"


def test_grey_images_of_one_size_keep_it(grey: Path) -> None:
    found = _open(grey)

    assert found.images.shape[1:] == (20, 20, 1)
    assert "20×20 (the size of all images), grey (every image is grey)" in found.audit["rule"]


@pytest.mark.parametrize("cache", [True, False])
def test_one_image_that_the_sample_missed_changes_the_form(
    grey: Path, cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ravine.data.image_format._SAMPLE", 2)
    red = Image.new("RGB", (40, 20), (255, 0, 0))
    red.save(grey / "a" / "10.png")

    first, again = (_open(grey, cache=cache) for _ in range(2))

    assert first.images.shape[1:] == (32, 32, 3)
    index = list(first.names).index("a/10.png")
    assert first.images[index, 16, 16].tolist() == [255, 0, 0]
    assert again.audit["cached"] == cache
    assert again.fingerprint == first.fingerprint
    assert again.audit["rule"] == first.audit["rule"]


def test_large_images_take_the_size_below_their_median(tmp_path: Path) -> None:
    for number, side in enumerate([100, 140, 150, 300]):
        _grey(tmp_path / "x" / "ab"[number % 2] / f"{number}.png", side, number)

    assert _open(tmp_path / "x").preprocessing.image_size == 128


def test_sizes_and_channels_can_be_asked_for(grey: Path) -> None:
    found = _open(grey, image_size=24, channels="3")

    assert found.images.shape[1:] == (24, 24, 3)
    assert "(as asked)" in found.audit["rule"]


def test_mean_and_deviation_are_those_of_the_training_images(tree: Tree) -> None:
    found = _open(tree({"a": 10, "b": 10}))

    train = found.images[found.splits["train"]].astype(np.float64) / 255
    assert np.allclose(found.preprocessing.mean, train.mean((0, 1, 2)), rtol=1e-12)
    assert np.allclose(found.preprocessing.std, train.std((0, 1, 2)), rtol=1e-9)


def test_the_audit_tells_sizes_as_files_have_them(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "x" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 300), (60 * number, 0, 0)).save(path)

    assert _open(tmp_path / "x", image_size=16).audit["sizes"] == [{"size": "400x300", "count": 4}]
