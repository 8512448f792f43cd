"""How pictures become square, and deep grey becomes 8 bits: what is lost is told."""

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.data.dataset import Preprocessing
from ravine.data.decode import Unreadable, decode, fit_square
from ravine.data.network_images import open_labelled
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

Tree = Callable[..., Path]


def marks(folder: Path) -> Path:
    """Draws pictures of 16×64, black, with a square at the top (roof) or at the bottom (floor)."""
    for name, top in (("roof", 0), ("floor", 56)):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.zeros((64, 16), np.uint8)
            pixels[top : top + 8, 4:12] = 100 + number
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("stream", ["off", "on"])
@pytest.mark.parametrize("fit", ["pad", "squash"])
def test_a_mark_at_the_edge_is_kept_by_pad_and_squash(
    tmp_path: Path, fit: str, stream: str
) -> None:
    root = marks(tmp_path / "d")
    asked = {"data": str(root), "fit": fit, "stream": stream, "workers": 0}
    found = open_dataset(DataSettings.of(asked), seed=0)
    assert found.audit["image_notes"] == []
    size = found.preprocessing.image_size
    for index, name in enumerate(found.names):
        rows = np.asarray(found.images[index]).sum((1, 2))
        half = rows[: size // 2].sum(), rows[size // 2 :].sum()
        assert (half[0] > half[1]) == name.startswith("roof")
    again = open_labelled(
        str(root), labels=None, preprocessing=found.preprocessing, classes=found.classes
    )
    assert np.array_equal(again.images[3], found.images[3])


def test_what_the_middle_leaves_out_is_told(tmp_path: Path) -> None:
    found = open_dataset(DataSettings(data=str(marks(tmp_path / "d"))), seed=0)
    (note,) = found.audit["image_notes"]
    assert note.startswith("the middle is cut out, and 75 % of the area of the median image is")
    assert "fit" not in found.preprocessing.to_json()


def test_padding_keeps_the_shape_and_squashing_does_not() -> None:
    pixels = np.full((40, 80, 3), 200, np.uint8)
    padded = fit_square(pixels, 20, "pad")
    assert (padded[5:15] == 200).all()
    assert (padded[:5] == 0).all()
    assert (padded[15:] == 0).all()
    assert (fit_square(pixels, 20, "squash") == 200).all()
    assert fit_square(np.zeros((1, 5000, 1), np.uint8), 16, "pad").shape == (16, 16, 1)


def test_a_picture_of_90_megapixels_is_read_by_those_who_mean_it() -> None:
    buffer = io.BytesIO()
    Image.new("L", (10_000, 9_000), 77).save(buffer, "JPEG")
    with pytest.raises(Unreadable, match="--large-images reads it"):
        decode(buffer.getvalue(), 1, draft=32)
    assert (decode(buffer.getvalue(), 1, draft=32, large=True).pixels == 77).all()


def test_twelve_bits_in_sixteen_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for top, name in ((4095, "narrow"), (65535, "wide")):
        for label in "ab":
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for number in range(4):
                values = rng.integers(0, top, (16, 16)).astype(np.uint16)
                values[0, 0] = top
                Image.fromarray(values).save(folder / f"{number}.png")
    narrow = open_dataset(DataSettings(data=str(tmp_path / "narrow")), seed=0)
    assert "these images use 16 of 256 levels" in narrow.audit["image_notes"][0]
    settings = DataSettings(data=str(tmp_path / "narrow"), grey_range="set", cache=False)
    scaled = open_dataset(settings, seed=0)
    assert scaled.audit["image_notes"] == []
    assert scaled.preprocessing.grey_range is not None
    low, high = scaled.preprocessing.grey_range
    assert (low < 40, high) == (True, 4095)
    with Image.open(tmp_path / "narrow" / "a" / "0.png") as picture:
        first = np.asarray(picture).astype(float)
    expected = ((first - low) * 255 / (high - low)).round()
    assert np.array_equal(scaled.images[0][:, :, 0], expected)
    again = Preprocessing.from_json(json.loads(json.dumps(scaled.preprocessing.to_json())))
    assert again == scaled.preprocessing
    wide = open_dataset(DataSettings(data=str(tmp_path / "wide")), seed=0)
    assert wide.audit["image_notes"] == []


def test_signed_scans_of_one_folder_are_scaled_by_one_range_on_request(tmp_path: Path) -> None:
    # Pillow leaves the scaling of mode I to the caller (discovery of November 2026).
    values = np.arange(256).reshape(16, 16).astype(np.int32) * 10
    for label, least in (("a", 0), ("b", -1)):
        (tmp_path / label).mkdir()
        for number in range(3):
            scan = values + number
            scan[0, 0] = least
            Image.fromarray(scan).save(tmp_path / label / f"{number}.tif")
    each = open_dataset(DataSettings(data=str(tmp_path)), seed=0)
    assert "scaled image by image" in each.audit["image_notes"][0]
    found = open_dataset(DataSettings(data=str(tmp_path), grey_range="set"), seed=0)
    assert found.audit["image_notes"] == []
    assert found.preprocessing.grey_range == (-1, 2552)
    same = np.abs(found.images[0].astype(int) - found.images[3].astype(int))
    assert same.max() <= 1
    assert found.images[0].max() == 255


def tiff(values: np.ndarray, *, photometric: int, planar: int = 1) -> bytes:
    """Returns an uncompressed TIFF of 16 bits, little-endian, by the specification of 1992."""
    height, width = values.shape[:2]
    samples = 1 if values.ndim == 2 else values.shape[2]
    planes = values if samples == 1 or planar == 1 else np.moveaxis(values, 2, 0)
    content = planes.astype("<u2").tobytes()
    count = samples if planar == 2 else 1
    where = 8 + len(content)
    extra = struct.pack(f"<{samples}H", *[16] * samples)
    strips = struct.pack(f"<{count}I", *[8 + k * len(content) // count for k in range(count)])
    lengths = struct.pack(f"<{count}I", *[len(content) // count] * count)
    many = count > 1
    at = [where, where + len(extra), where + len(extra) + len(strips)]
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, samples, 16 if samples == 1 else at[0]),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, count, at[1] if many else 8),
        (277, 3, 1, samples),
        (278, 3, 1, height),
        (279, 4, count, at[2] if many else len(content)),
        (284, 3, 1, planar),
    ]
    tail = extra + strips + lengths
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = where + len(tail)
    return b"II*\0" + struct.pack("<I", start) + content + tail + ifd + b"\0\0\0\0"


def test_a_tiff_whose_zero_is_white_is_inverted() -> None:
    # Pillow 13.0.0 inverts 8 bits and fewer only (discovery of November 2026).
    values = np.arange(64 * 64).reshape(64, 64) * 16
    black = decode(tiff(values, photometric=1), 1).pixels[:, :, 0]
    white = decode(tiff(values, photometric=0), 1).pixels[:, :, 0]
    assert np.array_equal(black, values // 257)
    assert np.array_equal(white, 255 - values // 257)


def test_a_planar_tiff_of_16_bits_is_refused_with_the_reason() -> None:
    # Pillow 13.0.0 reads each sample's two bytes as two pixels.
    values = np.random.default_rng(0).integers(0, 65535, (32, 32, 3))
    with pytest.raises(Unreadable, match="a planar TIFF of 16 bits"):
        decode(tiff(values, photometric=2, planar=2), 3)
