"""Images that were saved again: found, printed and counted; others are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.notice import Notice
from ravine.data.audit import report_audit
from ravine.data.near_duplicates import near_duplicates, with_near_duplicates
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings


def pictures(count: int, *, seed: int = 0, side: int = 40) -> np.ndarray:
    """Returns smooth random pictures (N, S, S, 3) of as weak colours as photographs have."""
    rng = np.random.default_rng(seed)
    small = rng.integers(30, 226, (count, 7, 7, 1)) + rng.integers(-20, 20, (count, 7, 7, 3))
    small = small.astype(np.uint8)
    large = [Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC) for one in small]
    return np.stack([np.asarray(one) for one in large])


def again(picture: np.ndarray, *, quality: int = 80, side: int | None = None) -> np.ndarray:
    """Returns a picture as it is read after it was saved as JPEG, in another size if asked."""
    image, size = Image.fromarray(picture), picture.shape[1::-1]
    buffer = io.BytesIO()
    (image.resize((side, side)) if side else image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).resize(size))


@pytest.mark.parametrize("change", [{"quality": 80}, {"quality": 95, "side": 60}])
def test_copies_that_were_saved_again_are_found_and_nothing_else(change: dict[str, int]) -> None:
    originals = pictures(700)  # more than one block of comparisons
    copied = np.arange(0, 700, 23)
    copies = np.stack([again(originals[k], **change) for k in copied])
    everything = np.concatenate([originals, copies])

    found = near_duplicates(everything, np.arange(len(everything)))

    assert found == [(int(k), 700 + n) for n, k in enumerate(copied)]


def test_flat_images_and_small_changes_of_content_are_no_copies() -> None:
    flat = np.full((3, 28, 28, 1), 90, np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    changed = np.repeat(pictures(1), 2, axis=0)
    changed[1, 10:22, 10:22] = 255 - changed[1, 10:22, 10:22]

    assert near_duplicates(flat, np.arange(3)) == []
    assert near_duplicates(changed, np.arange(2)) == []
    assert near_duplicates(changed, np.arange(0)) == []


@pytest.mark.usefixtures("own_cache")
def test_those_with_other_labels_come_first_and_are_warned_of(tmp_path: Path) -> None:
    originals = pictures(24)
    for split, first in (("train", 0), ("val", 16)):
        for k in range(first, first + (16 if split == "train" else 8)):
            place = tmp_path / "data" / split / "ab"[k % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(originals[k]).save(place / f"{k:02d}.png")
    for k, place in ((2, "train/a"), (5, "val/b"), (8, "train/b")):  # 8 is an a
        Image.fromarray(again(originals[k])).save(tmp_path / "data" / place / f"again-{k}.png")
    Image.fromarray(originals[1]).save(tmp_path / "data/train/b/equal.png")
    settings = DataSettings(data=str(tmp_path / "data"))

    dataset = with_near_duplicates(open_dataset(settings, seed=0))

    near = dataset.audit["near_duplicates"]
    assert near["pairs"] == 3
    assert (near["different_labels"], near["across_the_split"]) == (1, 1)
    named = [{Path(name).name for name in pair} for pair in near["examples"]]
    assert named[:2] == [{"08.png", "again-8.png"}, {"05.png", "again-5.png"}]
    notices: list[Notice] = []
    report_audit(dataset, notices.append)
    (line,) = [one for one in notices if "nearly equal" in one.text]
    assert line.warning
    assert "3 pairs" in line.text
    assert "1 of them under different labels" in line.text
    assert "1 of them on both sides of the split" in line.text
