"""Satellite images of many bands, as EuroSAT's, are refused by name."""

import struct
from pathlib import Path

import numpy as np
import pytest

from ravine.core.errors import DataError
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.tiff_bands import tiff_bands


def tiff(path: Path, array: np.ndarray, order: str = "<") -> None:
    """Writes (H, W, bands) uint16 as a baseline TIFF of one strip (TIFF 6.0)."""
    height, width, bands = array.shape
    pixels = array.astype(f"{order}u2").tobytes()
    bits = struct.pack(f"{order}{bands}H", *[16] * bands)
    after = 8 + 2 + 12 * 9 + 4
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, bands, after),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, after + len(bits)),
        (277, 3, 1, bands),
        (278, 3, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, kind, count, value in tags:
        short = kind == 3 and count == 1
        packed = struct.pack(
            f"{order}HH" if short else f"{order}I", *([value, 0] if short else [value])
        )
        content += struct.pack(f"{order}HHI", tag, kind, count) + packed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content + struct.pack(f"{order}I", 0) + bits + pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_thirteen_bands_are_refused_with_the_remedy(tmp_path: Path, order: str) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (8, 8, 13))
    for name in ("Forest", "River"):
        for number in range(3):
            tiff(tmp_path / name / f"{name}_{number}.tif", values + number, order)

    with pytest.raises(DataError, match="is a TIFF of 13 bands; only grey and RGB are read; write"):
        open_dataset(DataSettings(data=str(tmp_path)), seed=0)


@pytest.mark.parametrize("keep", range(0, 60, 3))
def test_a_torn_head_is_no_error(keep: int, tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", np.zeros((2, 2, 13), np.uint16))

    assert tiff_bands((tmp_path / "a.tif").read_bytes()[:keep]) in (None, 1, 13)
