"""Satellite images of many bands, as EuroSAT's: refused by name, or read by chosen bands."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError, SettingError
from ravine.data.network_images import open_unlabelled
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

    with pytest.raises(DataError, match="TIFF of 13 bands; name three of them, or one: --bands"):
        open_dataset(DataSettings(data=str(tmp_path)), seed=0)


@pytest.mark.parametrize("keep", range(0, 60, 3))
def test_a_torn_head_is_no_error(keep: int, tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", np.zeros((2, 2, 13), np.uint16))

    assert tiff_bands((tmp_path / "a.tif").read_bytes()[:keep]) in (None, 1, 13)


def eurosat(folder: Path, planar: str = "contig", kind: type = np.uint16) -> np.ndarray:
    """Writes pictures of 13 bands, and returns the first, (8, 8, 13)."""
    tifffile = pytest.importorskip("tifffile")
    rng, first = np.random.default_rng(0), np.zeros(0)
    for name in ("Forest", "River"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            values = rng.integers(0, 120, (8, 8, 13)).astype(kind)
            values[0, 0] = 10 * number
            stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
            path = folder / name / f"{name}_{number}.tif"
            tifffile.imwrite(path, stored, planarconfig=planar, photometric="minisblack")
            first = first if first.size else values
    return first.astype(np.float64)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_chosen_bands_are_read_in_their_order_by_one_scale(
    tmp_path: Path, planar: str, kind: type
) -> None:
    first = eurosat(tmp_path, planar, kind)
    found = open_dataset(DataSettings(data=str(tmp_path), bands="4,3,2"), seed=0)
    assert found.preprocessing.bands == (4, 3, 2)
    assert found.preprocessing.grey_range is not None
    low, high = found.preprocessing.grey_range
    expected = ((first[:, :, [3, 2, 1]] - low) * 255 / (high - low)).round()
    assert np.array_equal(found.images[0], expected)
    again = open_unlabelled([tmp_path / "Forest"], preprocessing=found.preprocessing)
    assert np.array_equal(again.images[0], expected)


def test_one_band_makes_grey_images(tmp_path: Path) -> None:
    eurosat(tmp_path)
    found = open_dataset(DataSettings.of({"data": str(tmp_path), "bands": 8}), seed=0)
    assert found.images.shape[3] == 1


def test_bands_that_are_not_there_and_other_files_are_left_out_by_name(tmp_path: Path) -> None:
    eurosat(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "Forest/photo.png")
    found = open_dataset(DataSettings(data=str(tmp_path), bands="1,2,3"), seed=0)
    assert [row["name"] for row in found.audit["unreadable"]] == ["Forest/photo.png"]
    with pytest.raises(DataError, match=r"no readable image|has 13 bands"):
        open_dataset(DataSettings(data=str(tmp_path), bands="14"), seed=0)


@pytest.mark.parametrize("bands", ["1,2", "0", "a", "1,2,3,4", "1,-2,3", "1,,3"])
def test_bands_are_three_numbers_or_one(bands: str) -> None:
    with pytest.raises(SettingError, match="three numbers from 1, or one"):
        DataSettings.of({"data": "x", "bands": bands})


def test_two_bands_are_refused_by_name(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(3):
            values = np.full((8, 8, 2), number, np.uint16)
            path = tmp_path / name / f"{number}.tif"
            tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match=r"a TIFF of 2 bands; .*--bands"):
        open_dataset(DataSettings(data=str(tmp_path)), seed=0)
    found = open_dataset(DataSettings(data=str(tmp_path), bands="2"), seed=0)
    assert found.images.shape == (6, 8, 8, 1)


def _scans(root: Path, values: np.ndarray, **options: object) -> DataSettings:
    """Writes six TIFFs in two classes, each with other values."""
    tifffile = pytest.importorskip("tifffile")
    for number in range(6):
        path = root / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        own = values.copy()
        own.flat[number] = values.max()
        tifffile.imwrite(path, own, **options)
    return DataSettings(data=str(root), validation=0)


@pytest.mark.parametrize(
    ("kind", "shape", "reason", "bands"),
    [
        ("float16", (8, 8), "floating-point numbers of 16 bits", "1"),
        ("float64", (8, 8), "floating-point numbers of 64 bits", "1"),
        ("float32", (8, 8, 3), "floating-point numbers of 32 bits", "1,2,3"),
        ("int8", (8, 8), "8 bits with a sign, which Pillow misreads", "1"),
    ],
)
def test_what_pillow_does_not_read_is_read_as_a_band(
    tmp_path: Path, kind: str, shape: tuple[int, ...], reason: str, bands: str
) -> None:
    # Pillow 13.0.0 has no mode for float16, float64 and float RGB, and reads int8 as if unsigned.
    values = np.linspace(-50, 50, int(np.prod(shape))).reshape(shape).astype(kind)
    settings = _scans(tmp_path, values, photometric="rgb" if len(shape) > 2 else "minisblack")

    with pytest.raises(DataError, match=f"{reason}.*--bands {bands}"):
        open_dataset(settings, seed=0)
    found = open_dataset(settings.with_(bands=bands), seed=0)

    scaled = (values.astype(float) - values.min()) * 255 / (float(values.max()) - values.min())
    expected = scaled.reshape(*shape[:2], -1).round()
    assert np.abs(found.images[1].astype(float) - expected).flat[10:].max() <= 1


def test_complex_numbers_are_refused_by_name(tmp_path: Path) -> None:
    settings = _scans(tmp_path, np.ones((8, 8), np.complex64))

    for bands in (None, "1"):
        with pytest.raises(DataError, match="complex numbers; save their absolute values"):
            open_dataset(settings.with_(bands=bands), seed=0)


def test_pages_and_bands_that_are_not_seen_are_named(tmp_path: Path) -> None:
    pages = _scans(tmp_path / "stack", np.zeros((5, 8, 8), np.uint8), photometric="minisblack")
    near = np.zeros((8, 8, 4), np.uint8)
    infrared = _scans(tmp_path / "rgb", near, photometric="rgb", extrasamples=["unspecified"])

    (note,) = open_dataset(pages, seed=0).audit["image_notes"]
    assert note.endswith("such as 'a/0.tif', have 5 pages or frames; the first is read")
    (note,) = open_dataset(infrared, seed=0).audit["image_notes"]
    assert "'a/0.tif', have 4 bands; the first three are read, others with --bands" in note
    assert not open_dataset(infrared.with_(bands="4"), seed=0).audit["image_notes"]
