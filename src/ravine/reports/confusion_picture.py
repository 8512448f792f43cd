"""The confusion matrix of many classes as a picture: one pixel for each pair of classes.

Colours are those of the table of few classes: blue where the prediction is correct, orange for
errors, four times as strong; what is transparent shows the page, light or dark.

Shape letters: K classes.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

_CORRECT, _ERROR = (0, 114, 178), (213, 94, 0)  # Okabe, Ito 2008
_STRONGER = 4.0  # errors than correct answers of the same share
_LEAST = 0.25  # opacity of a single error, which else would not be seen
_SIDE = 720  # pixels of the picture, about


def confusion_picture(confusion: Sequence[Sequence[int]]) -> str:
    """Returns a PNG as a data URI, (K, K) fields of whole pixels.

    Args:
        confusion: counts (K, K), true classes by predicted classes.
    """
    counts = np.asarray(confusion, np.float64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    diagonal = np.eye(len(counts), dtype=bool)
    errors = np.where(counts > 0, np.clip(_STRONGER * shares, _LEAST, 1), 0)
    pixels = np.empty((*counts.shape, 4), np.uint8)
    pixels[..., :3] = np.where(diagonal[..., None], _CORRECT, _ERROR)
    pixels[..., 3] = np.round(255 * np.where(diagonal, shares, errors))
    side = len(counts) * max(1, _SIDE // len(counts))
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
