"""JPEGs through simplejpeg: the pixels and the verdicts are those of Pillow, bit for bit.

simplejpeg 1.9.0 has libjpeg-turbo 3.1.2, Pillow 13.0.0 libjpeg-turbo 3.2.0.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ravine.data import decode as decoding
from ravine.data import quick_jpeg
from ravine.data.decode import Unreadable, decode

pytest.importorskip("simplejpeg")

Verdict = tuple[bytes, tuple[int, ...], str, tuple[int, int]] | str


def _jpeg(
    size: tuple[int, int] = (45, 37), mode: str = "RGB", seed: int = 0, **options: Any
) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _jpeg(exif=exif)


def _with_segment(content: bytes, marker: int, body: bytes) -> bytes:
    segment = bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body
    return content[:2] + segment + content[2:]


def _other_format(name: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), 90).save(file, name)
    return file.getvalue()


def _sixteen_bits() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257).save(file, "PNG")
    return file.getvalue()


def _several_pictures() -> bytes:
    file = io.BytesIO()
    first = Image.new("RGB", (64, 64), 10)
    first.save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64), 200)])
    return file.getvalue()


PLAIN: dict[str, Callable[[], bytes]] = {
    **{f"subsampled {s}": (lambda s=s: _jpeg(subsampling=s)) for s in (0, 1, 2)},
    "progressive": lambda: _jpeg(progressive=True),
    "grey": lambda: _jpeg(mode="L"),
    "one pixel": lambda: _jpeg((1, 1)),
    "wide": lambda: _jpeg((300, 17)),
    "large": lambda: _jpeg((500, 375)),
    "restarts": lambda: _jpeg(restart_marker_rows=1),
    "upright by EXIF": lambda: _turned(1),
    "a colour profile": lambda: _jpeg(icc_profile=b"\0" * 200),
    "a comment": lambda: _jpeg(comment=b"by hand"),
}
OTHERS: dict[str, Callable[[], bytes]] = {
    **{f"turned {o}": (lambda o=o: _turned(o)) for o in range(2, 9)},
    "CMYK": lambda: _jpeg(mode="CMYK"),
    "RGB of Adobe": lambda: _jpeg(keep_rgb=True),
    "16 bits": _sixteen_bits,
    "PNG": lambda: _other_format("PNG"),
    "several pictures": _several_pictures,
    "EXIF of nothing": lambda: _with_segment(_jpeg(), 0xE1, b"Exif\0\0MM"),
    "XMP that turns": lambda: _with_segment(
        _jpeg(), 0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
    ),
    "torn": lambda: _jpeg()[:-150],
    "torn, closed": lambda: _jpeg()[:-150] + b"\xff\xd9",
    "without its end": lambda: _jpeg()[:-2],
    "bytes behind it": lambda: _jpeg() + b"\0\0",
    "empty": lambda: b"",
    "its head only": lambda: _jpeg()[:200],
    "no picture": lambda: b"\xff\xd8\xff\xd9",
}


def _verdict(content: bytes, channels: int, draft: int | None) -> Verdict:
    try:
        found = decode(content, channels, draft=draft)
    except Unreadable as reason:
        return str(reason)
    return found.pixels.tobytes(), found.pixels.shape, found.mode, found.size


@pytest.fixture
def by_pillow(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes, int, int | None], Verdict]:
    """Decodes by Pillow alone."""

    def decoded(content: bytes, channels: int, draft: int | None) -> Verdict:
        with monkeypatch.context() as patched:
            patched.setattr(decoding, "quick_jpeg", lambda *_: None)
            return _verdict(content, channels, draft)

    return decoded


Pillow = Callable[[bytes, int, int | None], Verdict]


def test_this_build_gives_pillow_s_bits() -> None:
    assert quick_jpeg._is_pillow_s()


@pytest.mark.parametrize("kind", [*PLAIN, *OTHERS])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("draft", [None, 8, 32, 100])
def test_pixels_and_verdicts_are_those_of_pillow(
    by_pillow: Pillow, kind: str, channels: int, draft: int | None
) -> None:
    content = {**PLAIN, **OTHERS}[kind]()

    used = quick_jpeg.quick_jpeg(content, channels, draft) is not None

    assert used == (kind in PLAIN)
    assert _verdict(content, channels, draft) == by_pillow(content, channels, draft)


def test_damaged_files_have_the_verdict_of_pillow(by_pillow: Pillow) -> None:
    rng = np.random.default_rng(0)
    files = [_jpeg(subsampling=s, progressive=p) for s in (0, 2) for p in (False, True)]
    used = 0
    for number in range(400):
        content = bytearray(files[number % len(files)])
        for _ in range(1 + number % 3):
            most = len(content) if number % 2 else 700
            content[int(rng.integers(0, most))] = int(rng.integers(0, 256))
        channels, draft = 1 + 2 * (number % 2), (None, 8)[number % 2]
        used += quick_jpeg.quick_jpeg(bytes(content), channels, draft) is not None

        assert _verdict(bytes(content), channels, draft) == by_pillow(
            bytes(content), channels, draft
        )
    assert used > 40


def test_all_is_left_to_pillow_where_a_bit_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    true = quick_jpeg._decoded

    def off_by_one(*given: Any) -> np.ndarray | None:
        pixels = true(*given)
        return None if pixels is None else pixels ^ 1

    monkeypatch.setattr(quick_jpeg, "_decoded", off_by_one)
    quick_jpeg._is_pillow_s.cache_clear()
    try:
        assert quick_jpeg.quick_jpeg(_jpeg(), 3, None) is None
    finally:
        quick_jpeg._is_pillow_s.cache_clear()
