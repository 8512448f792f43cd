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
from ravine.data.fit_choice import choose_fit, cut_share
from ravine.data.given_images import open_given
from ravine.data.network_images import open_labelled
from ravine.data.opening import open_dataset
from ravine.data.rule_line import rule_line
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
@pytest.mark.parametrize("fit", ["auto", "pad", "squash"])
def test_a_mark_at_the_edge_is_kept_by_pad_and_squash(
    tmp_path: Path, fit: str, stream: str
) -> None:
    root = marks(tmp_path / "d")
    asked = {"data": str(root), "fit": fit, "stream": stream, "workers": 0}
    found = open_dataset(DataSettings.of(asked), seed=0)
    assert found.audit["image_notes"] == []
    assert found.preprocessing.fit == ("squash" if fit == "auto" else fit)
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
    data = str(marks(tmp_path / "d"))
    found = open_dataset(DataSettings(data=data, fit="crop"), seed=0)
    (note,) = found.audit["image_notes"]
    assert note.startswith("the middle is cut out, and 40 of 40 images lose more than a fifth")
    assert "fit" not in found.preprocessing.to_json()
    chosen = open_dataset(DataSettings(data=data), seed=0)
    assert (
        "each side resized, as cutting out the middle would lose 75 % of the area (--fit crop)"
    ) in chosen.audit["rule"]


@pytest.mark.parametrize(
    ("sizes", "fit"),
    [
        ([(100, 100)] * 5, "crop"),
        ([(100, 125)] * 5, "crop"),  # a fifth
        ([(100, 126)] * 5, "squash"),
        ([(480, 640), (640, 480)] * 5, "squash"),
        ([(400, 600), (600, 400)] * 5, "squash"),
        ([(100, 300), (300, 100)] * 5, "pad"),
        ([(100, 100)] * 99 + [(100, 500)], "squash"),  # one panorama in a hundred
        ([(100, 100)] * 50 + [(100, 500)] * 50, "pad"),
    ],
)
def test_no_more_than_a_fifth_is_cut_off_unasked(sizes: list[tuple[int, int]], fit: str) -> None:
    chosen = choose_fit(np.array(sizes), "auto")
    assert chosen.name == fit
    assert (cut_share(np.array(sizes)).max() <= 0.2) == (fit == "crop")
    assert choose_fit(np.array(sizes), "crop").name == "crop"


def test_one_odd_picture_among_thousands_changes_the_fit_after_decoding(tmp_path: Path) -> None:
    for number in range(1100):  # more than the headers that are looked at first
        folder = tmp_path / "d" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        width = 40 if number == 1 else 8
        Image.new("L", (width, 8), number % 251).save(folder / f"{number:04d}.png")
    found = open_dataset(DataSettings(data=str(tmp_path / "d")), seed=0)
    assert found.preprocessing.fit == "squash"
    assert "up to 80 % of the area" in found.audit["rule"]


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


def test_a_picture_of_200_megapixels_too_and_the_limit_is_put_back() -> None:
    buffer, before = io.BytesIO(), Image.MAX_IMAGE_PIXELS
    Image.new("L", (20_000, 10_000), 77).save(buffer, "JPEG")
    with pytest.raises(Unreadable, match="--large-images reads it"):
        decode(buffer.getvalue(), 1, draft=32)
    assert (decode(buffer.getvalue(), 1, draft=32, large=True).pixels == 77).all()
    assert before == Image.MAX_IMAGE_PIXELS


def test_twelve_bits_in_sixteen_use_their_own_range(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for top, name in ((4095, "narrow"), (65535, "wide")):
        for label in "ab":
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for number in range(4):
                values = rng.integers(0, top, (16, 16)).astype(np.uint16)
                values[0, 0] = top
                Image.fromarray(values).save(folder / f"{number}.png")
    scaled = open_dataset(DataSettings(data=str(tmp_path / "narrow"), cache=False), seed=0)
    assert "to 4095 becomes 0 to 255 in all" in scaled.audit["rule"]
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
    assert wide.preprocessing.grey_range is None
    own = open_dataset(DataSettings(data=str(tmp_path / "wide"), grey_range="set"), seed=0)
    assert own.preprocessing.grey_range is not None


def test_signed_scans_of_one_folder_are_scaled_by_one_range(tmp_path: Path) -> None:
    # Pillow leaves the scaling of mode I to the caller (discovery of November 2026).
    values = np.arange(256).reshape(16, 16).astype(np.int32) * 10
    for label, least in (("a", 0), ("b", -1)):
        (tmp_path / label).mkdir()
        for number in range(3):
            scan = values + number
            scan[0, 0] = least
            Image.fromarray(scan).save(tmp_path / label / f"{number}.tif")
    found = open_dataset(DataSettings(data=str(tmp_path)), seed=0)
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


@pytest.mark.parametrize("values", [(0, 1000), (0, 3_000_000_000), (-500, 500), (0.25, 7.5)])
def test_32_bits_of_every_kind_keep_their_order_and_share_one_scale(
    tmp_path: Path, values: tuple[float, float]
) -> None:
    # Pillow gives unsigned 32 bits above 2^31 as negative numbers (discovery of November 2026).
    tifffile = pytest.importorskip("tifffile")
    low, high = values
    kind = np.float32 if isinstance(low, float) else np.uint32 if low >= 0 else np.int32
    for label, top in (("a", high), ("b", (low + high) / 2)):
        (tmp_path / label).mkdir()
        for number in range(3):
            scan = np.linspace(low, top, 64).reshape(8, 8).astype(kind)
            scan[0, 1] = low + (high - low) * number / 8
            tifffile.imwrite(tmp_path / label / f"{number}.tif", scan)
    found = open_dataset(DataSettings(data=str(tmp_path)), seed=0)
    bright, dim = found.images[0][-1, -1, 0], found.images[3][-1, -1, 0]
    assert (bright, found.images[0][0, 0, 0]) == (255, 0)
    assert abs(int(dim) - 128) <= 1
    assert found.audit["unreadable"] == []


def test_a_picture_in_the_hand_is_fitted_and_scaled_as_those_of_the_training() -> None:
    form = Preprocessing(
        image_size=8, channels=1, mean=(0.5,), std=(0.5,), fit="squash", grey_range=(0.0, 4095.0)
    )
    tall = Image.fromarray(np.vstack([np.full((8, 8), 4095), np.zeros((24, 8))]).astype(np.uint16))
    found = open_given([tall], preprocessing=form).images[0][:, :, 0]
    assert found[0].min() > 250
    assert found[4:].max() < 5


@pytest.mark.parametrize(
    ("top", "kind", "said"),
    [
        (255, np.uint8, None),
        (4095, np.uint16, "deep grey from 0 to 4095 becomes 0 to 255 in all"),
        (65535, np.uint16, "16-bit grey divided by 257"),
        (65535, np.int32, "deep grey from 0 to 65535 becomes 0 to 255 in all"),
    ],
)
def test_of_deep_grey_only_what_happens_is_said(
    tmp_path: Path, top: int, kind: type, said: str | None
) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            values = np.linspace(0, top, 64).reshape(8, 8)
            values[0, number + 3 * (label == "b")] = top // 2
            Image.fromarray(values.astype(kind)).save(tmp_path / label / f"{number}.tif")
    audit = open_dataset(DataSettings(data=str(tmp_path)), seed=0).audit
    for line in (str(audit["rule"]), rule_line(audit)):
        clauses = [
            clause for clause in line.split("; ") if "deep grey" in clause or "257" in clause
        ]
        assert clauses == ([] if said is None else [said])
