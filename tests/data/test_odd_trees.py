"""Folders that hold more than images and folders."""

import os
from pathlib import Path

import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.discovery import find_collection
from ravine.data.settings import DataSettings
from ravine.data.sources.listing import folders_in, image_files
from ravine.data.submission import read_sample

# As many sources call what describes the images: lists, tables, classes, annotations.
DESCRIPTIONS = (
    "train.txt", "train_test_split.txt", "val_annotations.txt", "list_eval_partition.txt",
    "images.txt", "labels.txt", "classes.txt", "wnids.txt", "batches.meta.txt", "labels.csv",
    "train.csv", "annotations.csv", "_classes.csv", "metadata.csv", "metadata.jsonl", "x.json",
    "annotations.json", "_annotations.coco.json", "class_to_idx.json", "x.xml", "data.yaml",
    "x.npz", "x.tar", "data_batch_1", "train-images-idx3-ubyte", "kmnist_classmap.csv",
)  # fmt: skip


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_fifo_beside_the_images_is_not_waited_for(name: str, tmp_path: Path) -> None:
    for place in ("cat", "dog"):
        (tmp_path / place).mkdir()
        for number in range(3):
            Image.new("L", (4, 4), 40 * number).save(tmp_path / place / f"{number}.png")
    os.mkfifo(tmp_path / name)

    found = find_collection(DataSettings.of({"data": str(tmp_path)}))

    assert found.classes == ("cat", "dog")


def test_a_fifo_as_sample_submission_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sample.csv")

    with pytest.raises(DataError, match=r"sample.csv cannot be read .*no regular file$"):
        read_sample(tmp_path / "sample.csv")


def test_fifos_and_links_to_themselves_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")

    found = dict(image_files(tmp_path))

    assert set(found) == {"a.png", "gone.png", "loop.png"}
    assert found["gone.png"].size == -1  # named among the unreadable
    assert folders_in(tmp_path) == []


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(150):
        path = path / "d"
        path.mkdir()

    with pytest.raises(DataError, match="100 folders deep"):
        list(image_files(tmp_path))
