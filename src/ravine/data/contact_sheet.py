"""A contact sheet: some images as the network will see them, with their labels. Loads no torch.

As the network sees them: resized, cut and in its channels (of bands the first three are shown);
before augmentation and normalisation.

Shape letters: N images, S height and width, C channels.
"""

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ravine.core.atomic import write_whole
from ravine.data.bands import as_picture
from ravine.data.dataset import Dataset
from ravine.data.label_sets import described_label, rarest_label

_COLUMNS = 10
_MOST = 60  # images
_TILE = 96  # least pixels a side of an image on the sheet
_TEXT = 14  # pixels of a line
_GAP = 6


def choose_examples(labels: np.ndarray, train: np.ndarray, *, most: int = _MOST) -> list[int]:
    """Returns indices of training images, class by class: as many of each as there is room for.

    Where there are more classes than room, classes at even steps, one image each.

    Args:
        labels: (N,) int64, or (N, K) uint8: then by the rarest label of each image.
        train: int64 indices of the training images.
        most: images at most.

    >>> choose_examples(np.array([0, 1, 0, 1, 0]), np.arange(5), most=4)
    [0, 4, 1, 3]
    """
    labels = rarest_label(labels)
    of_class: dict[int, list[int]] = {}
    for index in train.tolist():
        of_class.setdefault(int(labels[index]), []).append(index)
    classes = sorted(of_class)
    if len(classes) > most:
        classes = [classes[int(k)] for k in np.linspace(0, len(classes) - 1, most)]
    each = max(1, most // len(classes))
    return [index for label in classes for index in _spread(of_class[label], each)]


def _spread(indices: Sequence[int], count: int) -> list[int]:
    if len(indices) <= count:
        return list(indices)
    return [indices[int(k)] for k in np.linspace(0, len(indices) - 1, count)]


def write_contact_sheet(path: Path, dataset: Dataset) -> int:
    """Writes a PNG of training images with their labels, and returns how many they are.

    Raises:
        RunError: the disk does not allow it.
    """
    chosen = choose_examples(dataset.labels, dataset.splits["train"])
    pictures = [np.asarray(dataset.images[index]) for index in chosen]
    captions = [described_label(dataset.labels[index], dataset.classes) for index in chosen]
    buffer = io.BytesIO()
    draw_sheet(pictures, captions).save(buffer, "PNG")
    write_whole(path, buffer.getvalue())
    return len(chosen)


def draw_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> Image.Image:
    """Returns the sheet, images in rows with a caption under each.

    Pixels are repeated and not smoothed, so that small images show what there is.

    Args:
        pictures: (S, S, C) uint8, all of one size.
        captions: a text for each.
    """
    side = pictures[0].shape[0]
    tile = side * max(1, -(-_TILE // side))
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = tile + _GAP, tile + _TEXT + 2 * _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), _font()
    for number, (pixels, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = _GAP + number % columns * width
        top = _GAP + number // columns * height
        picture = as_picture(pixels).convert("RGB")
        sheet.paste(picture.resize((tile, tile), Image.Resampling.NEAREST), (left, top))
        draw.text((left, top + tile + 2), _fitted(caption, draw, font, tile), "black", font)
    return sheet


def _fitted(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, room: int) -> str:
    """Returns a text that is no wider than `room` pixels; what is cut off is marked."""
    text = "".join(c if c.isprintable() else " " for c in text)
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(f"{text}…", font) > room:
        text = text[:-1]
    return f"{text}…"


def _font() -> ImageFont.FreeTypeFont:
    """Returns the font that comes with matplotlib, without loading matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    folders = found.submodule_search_locations
    assert folders is not None
    fonts = Path(next(iter(folders))) / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), _TEXT - 3)
