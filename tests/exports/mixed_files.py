"""Files of all modes that the short program decodes, of different sizes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def _picture(chance: np.random.Generator, mode: str, size: tuple[int, int]) -> Image.Image:
    """Returns a smooth picture with noise, of one of Pillow's modes."""
    width, height = size
    ramp = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 90, width))[..., None]
    pixels = ramp + chance.integers(0, 45, (height, width, 4))
    colours = pixels.astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray((pixels[..., 0] * 256 + 17).astype(np.uint16))
    if mode in ("RGBA", "LA"):
        return Image.fromarray(colours, "RGBA").convert(mode)
    return Image.fromarray(colours[..., :3]).convert(mode)


def _plain(name: str, mode: str) -> Callable[[np.random.Generator, Path, tuple[int, int]], None]:
    def write(chance: np.random.Generator, stem: Path, size: tuple[int, int]) -> None:
        _picture(chance, mode, size).save(stem.with_suffix(name))

    return write


def _turned(chance: np.random.Generator, stem: Path, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = int(chance.integers(2, 9))
    _picture(chance, "RGB", size).save(stem.with_suffix(".jpg"), exif=exif, quality=90)


def _see_through(chance: np.random.Generator, stem: Path, size: tuple[int, int]) -> None:
    palette = _picture(chance, "RGB", size).quantize(16)
    palette.save(stem.with_suffix(".png"), transparency=3)


def _keyed(chance: np.random.Generator, stem: Path, size: tuple[int, int]) -> None:
    _picture(chance, "L", size).save(stem.with_suffix(".png"), transparency=100)


KINDS: tuple[Callable[[np.random.Generator, Path, tuple[int, int]], None], ...] = (
    _plain(".png", "L"),
    _plain(".png", "RGB"),
    _plain(".png", "RGBA"),
    _plain(".png", "LA"),
    _plain(".png", "P"),
    _plain(".png", "I;16"),
    _plain(".png", "1"),
    _plain(".jpg", "CMYK"),
    _plain(".jpg", "L"),
    _plain(".jpg", "RGB"),
    _plain(".tif", "CMYK"),
    _plain(".tif", "RGB"),
    _plain(".gif", "P"),
    _plain(".bmp", "RGB"),
    _plain(".webp", "RGBA"),
    _turned,
    _see_through,
    _keyed,
)


def write_mixed_files(folder: Path, count: int, *, largest: int = 60) -> list[Path]:
    """Writes `count` files of all kinds, sides of 5 to `largest` pixels, some square."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(3)
    for number in range(count):
        width, height = (int(side) for side in chance.integers(5, largest, 2))
        size = (width, width) if number % 5 == 0 else (width, height)
        KINDS[number % len(KINDS)](chance, folder / f"{number:04d}", size)
    return sorted(folder.iterdir())
