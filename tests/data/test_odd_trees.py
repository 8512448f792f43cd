"""Folders that hold more than images and folders."""

import os
from pathlib import Path

import pytest

from ravine.core.errors import DataError
from ravine.data.sources.listing import folders_in, image_files


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
