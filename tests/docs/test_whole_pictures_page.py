"""The commands in docs/data/whole-pictures.md print what the page says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

PAGE = Path(__file__).parents[2] / "docs/data/whole-pictures.md"


def marks(number: int, side: int) -> np.ndarray:
    pixels = np.zeros((64, 16), np.uint8)
    pixels[56 * side : 56 * side + 8, 4:12] = 100 + number
    return pixels


def scans(number: int, side: int) -> np.ndarray:
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16 + number + side
    pixels[0, 0], pixels[15, 15] = 0, 4095
    return pixels.clip(0, 4095)


@pytest.mark.parametrize("make", [marks, scans])
def test_the_page_says_what_is_printed(tmp_path: Path, make: object) -> None:
    assert callable(make)
    for side, name in enumerate(("roof", "floor")):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.fromarray(make(number, side)).save(tmp_path / name / f"{number}.png")
    rule = open_dataset(DataSettings(data=str(tmp_path)), seed=0).audit["rule"]
    lines = PAGE.read_text().splitlines()
    said = lines[lines.index(f"    $ ravine data {make.__name__}") + 1].strip()
    assert rule.startswith(said)
