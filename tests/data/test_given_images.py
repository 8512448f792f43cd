"""Images in hand are predicted as the same images in files are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.dataset import Preprocessing
from ravine.data.given_images import open_given
from ravine.data.network_images import open_unlabelled

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def preprocessing(channels: int) -> Preprocessing:
    return Preprocessing(
        image_size=16, channels=channels, mean=(0.5,) * channels, std=(0.2,) * channels
    )


def from_file(pixels: np.ndarray, folder: Path, channels: int) -> np.ndarray:
    Image.fromarray(pixels).save(folder / "one.png")
    found = open_unlabelled([folder / "one.png"], preprocessing=preprocessing(channels))
    return np.asarray(found.images[0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "form",
    [
        Image.fromarray,
        lambda pixels: pixels,
        lambda pixels: pixels.astype(np.int64),
        lambda pixels: pixels / 255,
        lambda pixels: (pixels / 255).astype(np.float32),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1).float().div(255),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1)[None],
        lambda pixels: pixels[None],
    ],
    ids=["pillow", "bytes", "ints", "doubles", "floats", "tensor", "float tensor", "NCHW", "NHWC"],
)
def test_every_form_gives_the_pixels_of_the_file(tmp_path: Path, form: Any, channels: int) -> None:
    found = open_given([form(PIXELS)], preprocessing=preprocessing(channels))

    assert found.images.shape == (1, 16, 16, channels)
    np.testing.assert_array_equal(found.images[0], from_file(PIXELS, tmp_path, channels))


def test_grey_images_and_a_channel_of_one_are_taken(tmp_path: Path) -> None:
    grey = PIXELS[:, :, 0]
    forms = [grey, grey[:, :, None], torch.from_numpy(grey.copy()), Image.fromarray(grey)]
    found = open_given(forms, preprocessing=preprocessing(3))

    assert list(found.names) == ["image 0", "image 1", "image 2", "image 3"]
    for image in found.images:  # type: ignore[attr-defined]
        np.testing.assert_array_equal(image, from_file(grey, tmp_path, 3))


def test_transparency_lies_on_white_as_in_a_file(tmp_path: Path) -> None:
    clear = np.dstack([PIXELS, np.zeros((20, 30), np.uint8)])
    found = open_given([clear], preprocessing=preprocessing(3))

    assert (found.images[0] == 255).all()
    np.testing.assert_array_equal(found.images[0], from_file(clear, tmp_path, 3))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 20, 30)), r"shape \(3, 20, 30\) is no image"),
        (torch.zeros(20, 30, 3), r"shape \(20, 30, 3\) is no image"),
        (np.full((20, 30, 3), 200.0), r"values in 0\.\.1, got 0\.\.200; give it as it was before"),
        (np.full((20, 30, 3), -1), r"values in 0\.\.255, got -1\.\.0"),
        (np.full((20, 30, 3), np.nan), "values in"),
        (np.zeros((20, 30), bool), "bool is no image"),
        ({"image": 1}, "a dict is no image"),
        (None, "a NoneType is no image"),
    ],
)
def test_what_is_no_image_is_one_line(image: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_given([image], preprocessing=preprocessing(3))


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        open_given([np.zeros((0, 8, 8, 3), np.uint8)], preprocessing=preprocessing(3))
