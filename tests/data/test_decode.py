"""Every kind of picture becomes bytes by the stated rule, or is refused with its reason."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.decode import Unreadable, decode, fit_square
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

CHANCE = np.random.default_rng(0)
RGB = CHANCE.integers(0, 256, (12, 20, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def _bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_colour_is_kept_to_the_bit() -> None:
    found = decode(_bytes(Image.fromarray(RGB), "PNG"), 3)

    assert np.array_equal(found.pixels, RGB)
    assert (found.mode, found.size) == ("RGB", (12, 20))


def test_grey_becomes_three_equal_channels() -> None:
    found = decode(_bytes(Image.fromarray(GREY), "PNG"), 3)

    assert np.array_equal(found.pixels, np.repeat(GREY[..., None], 3, axis=2))


def test_colour_becomes_grey_by_its_luminance() -> None:
    found = decode(_bytes(Image.fromarray(RGB), "PNG"), 1)

    expected = RGB.astype(np.float64) @ [0.299, 0.587, 0.114]
    assert found.pixels.shape == (12, 20, 1)
    assert np.abs(found.pixels[..., 0] - expected).max() <= 1


def test_a_palette_becomes_its_colours() -> None:
    image = Image.fromarray(RGB).quantize(16)
    expected = np.asarray(image.convert("RGB"))

    found = decode(_bytes(image, "PNG"), 3)

    assert found.mode == "P"
    assert np.array_equal(found.pixels, expected)


def test_a_transparent_colour_of_a_palette_becomes_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)

    found = decode(_bytes(image, "PNG", transparency=0), 3)

    assert found.pixels[0, 0].tolist() == [255, 255, 255]
    assert found.pixels[0, 1].tolist() == [0, 0, 255]


@given(st.integers(0, 255), st.integers(0, 255))
def test_alpha_is_mixed_with_white(value: int, alpha: int) -> None:
    image = Image.new("RGBA", (2, 2), (value, 0, 255, alpha))

    found = decode(_bytes(image, "PNG"), 3)

    share = alpha / 255
    expected = [value * share + 255 * (1 - share), 255 * (1 - share), 255]
    assert np.abs(found.pixels[0, 0] - np.array(expected)).max() <= 1


def test_grey_with_alpha_is_mixed_with_white() -> None:
    image = Image.merge("LA", (Image.fromarray(GREY), Image.new("L", (20, 12), 0)))

    assert (decode(_bytes(image, "PNG"), 1).pixels == 255).all()


@given(st.integers(0, 65535))
def test_sixteen_bit_grey_is_divided_by_257(value: int) -> None:
    image = Image.fromarray(np.full((3, 3), value, dtype=np.uint16))

    for kind in ("PNG", "TIFF"):
        assert (decode(_bytes(image, kind), 1).pixels == value // 257).all()


def test_a_dark_sixteen_bit_pgm_stays_dark() -> None:
    content = b"P5 2 1 65535\n" + struct.pack(">2H", 200, 60000)
    dark = b"P5 2 1 65535\n" + struct.pack(">2H", 200, 100)

    assert decode(content, 1).pixels.ravel().tolist() == [0, 60000 // 257]
    assert decode(dark, 1).pixels.ravel().tolist() == [0, 0]


def test_floats_are_scaled_by_their_own_range_and_nan_is_black() -> None:
    values = np.array([[-1.0, 0.0], [1.0, np.nan]], dtype=np.float32)

    found = decode(_bytes(Image.fromarray(values), "TIFF"), 1)

    assert found.mode == "F"
    assert found.pixels.ravel().tolist() == [0, 128, 255, 0]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))

    found = decode(_bytes(image, "TIFF"), 3)

    assert found.mode == "CMYK"
    assert found.pixels[0, 0].tolist() == [0, 255, 255]


def test_lab_becomes_rgb() -> None:
    image = Image.new("LAB", (8, 8), (255, 128, 128))

    found = decode(_bytes(image, "TIFF"), 3)

    assert found.mode == "LAB"
    assert (found.pixels >= 250).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_bytes_of_the_asked_channels(mode: str, channels: int) -> None:
    image = Image.fromarray(RGB).convert("L" if mode in ("I", "F") else "RGB").convert(mode)

    found = decode(_bytes(image, "TIFF"), channels)

    assert found.pixels.shape == (12, 20, channels)
    assert found.pixels.dtype == np.uint8
    assert found.pixels.max() > found.pixels.min()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(orientation: int) -> None:
    turns = [
        lambda a: a,
        lambda a: a[:, ::-1],
        lambda a: a[::-1, ::-1],
        lambda a: a[::-1],
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.rot90(a, -1),
        lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        lambda a: np.rot90(a),
    ]
    exif = Image.Exif()
    exif[0x0112] = orientation

    found = decode(_bytes(Image.fromarray(RGB), "PNG", exif=exif), 3)

    expected = turns[orientation - 1](RGB)
    assert np.array_equal(found.pixels, expected)
    assert found.size == expected.shape[:2]


def test_an_animation_gives_its_first_frame() -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 255, 0))
    content = _bytes(first, "GIF", save_all=True, append_images=[second])

    assert decode(content, 3).pixels[0, 0].tolist() == [255, 0, 0]


def test_a_large_jpeg_is_drafted_and_its_own_size_kept() -> None:
    ramp = np.tile(np.arange(512, dtype=np.uint8) // 2, (256, 1))
    content = _bytes(Image.fromarray(ramp), "JPEG", quality=95)

    found = decode(content, 1, draft=32)

    assert found.size == (256, 512)
    assert 64 <= found.pixels.shape[0] < 256
    whole = fit_square(decode(content, 1).pixels, 32).astype(int)
    assert np.abs(fit_square(found.pixels, 32).astype(int) - whole).max() <= 4


def _jpeg() -> bytes:
    return _bytes(Image.fromarray(CHANCE.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")


def _bomb() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"this is text, whatever its name says", "not an image"),
        (_jpeg()[:1000], "torn or damaged: image file is truncated"),
        (_bytes(Image.fromarray(RGB), "PNG")[:200], "torn or damaged"),
        (_bomb(), "decompression bomb"),
    ],
    ids=["empty", "text", "truncated jpeg", "truncated png", "bomb"],
)
def test_what_is_no_whole_image_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        decode(content, 3)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM"]), st.data())
def test_damaged_files_are_decoded_or_refused_but_raise_nothing_else(
    kind: str, data: st.DataObject
) -> None:
    content = bytearray(_bytes(Image.fromarray(RGB), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.integers(1, len(content)))

    try:
        found = decode(bytes(content[:keep]), 3)
    except Unreadable:
        return
    assert found.pixels.dtype == np.uint8
    assert found.pixels.shape[2] == 3


@given(
    st.integers(1, 90), st.integers(1, 90), st.sampled_from([8, 17, 32]), st.sampled_from([1, 3])
)
def test_fitting_gives_a_square_and_keeps_a_constant(
    height: int, width: int, size: int, channels: int
) -> None:
    pixels = np.full((height, width, channels), 77, dtype=np.uint8)

    fitted = fit_square(pixels, size)

    assert fitted.shape == (size, size, channels)
    assert (fitted == 77).all()


def test_fitting_keeps_the_middle() -> None:
    pixels = np.zeros((10, 50, 1), dtype=np.uint8)
    pixels[:, 20:30] = 200

    assert (fit_square(pixels, 10) == 200).all()


def test_fitting_does_not_alias_fine_stripes() -> None:
    stripes = np.zeros((256, 256, 1), dtype=np.uint8)
    stripes[:, ::2] = 255

    inner = fit_square(stripes, 32)[4:-4, 4:-4]

    assert np.abs(inner.astype(int) - 127).max() <= 3


def test_a_picture_of_one_by_many_pixels_takes_little_memory() -> None:
    assert fit_square(np.zeros((1, 60000, 3), dtype=np.uint8), 224).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>404</html>", "a page of HTML"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"neither", "not an image that Pillow can read"),
    ],
)
def test_what_lies_under_an_image_s_name_is_named(
    tmp_path: Path, content: bytes, said: str
) -> None:
    for number in range(4):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    with pytest.raises(Unreadable, match=said):
        decode(content, 3)
    with pytest.raises(DataError, match=said if "Pillow" not in said else "files is an image"):
        open_dataset(DataSettings(data=str(tmp_path)), seed=0)
