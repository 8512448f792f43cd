"""Rows of a table that name the folder of their image: matched in that folder and in no other."""

from collections import Counter
from pathlib import Path

import pytest

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.settings import DataSettings
from ravine.data.sources.image_index import ImageIndex


def _find(data: Path, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


def _of_two_folders(root: Path) -> Path:
    rows = ["file,category"]
    for split, count in (("train", 8), ("val", 4)):
        (root / split).mkdir(parents=True)
        for n in range(count):
            (root / split / f"{n}.jpg").write_bytes(f"{split} {n}".encode())
            rows.append(f"{split}/{n}.jpg,{'ab'[(n + (split == 'val')) % 2]}")
    table = root / "annotations.csv"
    table.write_text("\n".join(rows))
    return table


def test_a_table_of_flat_splits_is_advised_for_the_folder_above_both(tmp_path: Path) -> None:
    table = _of_two_folders(tmp_path / "f2")

    with pytest.raises(DataError) as caught:
        _find(tmp_path / "f2")
    found = _find(tmp_path / "f2", labels=str(table))

    assert f"ravine train {tmp_path / 'f2'} --labels {table}" in str(caught.value)
    assert Counter(found.given_splits) == {"train": 8, "validation": 4}


@pytest.mark.parametrize(("folder", "first"), [("train", "val/0.jpg"), ("val", "train/0.jpg")])
def test_a_row_of_another_folder_finds_nothing_in_this_one(
    tmp_path: Path, folder: str, first: str
) -> None:
    table = _of_two_folders(tmp_path / "f2")
    with pytest.raises(DataError, match=f"labels have no image in .*{folder}, the first '{first}'"):
        _find(tmp_path / "f2" / folder, labels=str(table))


def test_a_row_that_names_an_image_next_door_finds_none_here(tmp_path: Path) -> None:
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.png").write_bytes(folder.encode())
    index = ImageIndex(tmp_path / "right")

    assert index.find("left/0.png") is None
    assert index.find("left/0") is None
    assert index.find("right/0.png") == "0.png"
    assert index.find("RIGHT/0.png") == "0.png"
    assert index.find(f"{tmp_path.name}/right/0.png") == "0.png"
    assert index.find("/home/them/pictures/0.png") == "0.png"  # of another machine


def test_two_rows_that_name_two_images_are_no_repeats_of_one(tmp_path: Path) -> None:
    _of_two_folders(tmp_path / "f2")
    (tmp_path / "f2" / "train").rename(tmp_path / "pictures")
    for n in range(4):
        (tmp_path / "f2" / "val" / f"{n}.jpg").unlink()
    table = tmp_path / "f2" / "annotations.csv"

    says = "'train/0.jpg' in line 2 and 'val/0.jpg' in line 10 are two images"
    with pytest.raises(DataError, match=says):
        _find(tmp_path / "pictures", labels=str(table))


def test_one_image_by_longer_and_shorter_paths_is_a_repeat(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for n in range(4):
        (tmp_path / "d" / f"{n}.png").write_bytes(bytes([n]))
    rows = [f"{above}{n}.png,{'ab'[n % 2]}" for above in ("", "d/", "D\\") for n in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["file,label", *rows]))

    found = _find(tmp_path / "d", labels=str(tmp_path / "t.csv"))

    assert len(found.names) == 4
    assert found.understood is not None
    assert "8 repeated rows" in found.understood.line()
