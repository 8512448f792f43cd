"""predictions.npz: what the network said of each image that the run was evaluated on.

Images are named by the first 8 bytes of the digest of their pixels, so that two runs can be
compared image by image, wherever their images lie and however they were split.

Shape letters: N images.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from ravine.core.atomic import write_whole
from ravine.core.errors import RunError
from ravine.core.regular_file import read_regular
from ravine.runs.links import refuse_link


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPredictions:
    """Predictions of a run.

    Attributes:
        images: (N,) uint64.
        predicted: (N,) int32, classes.
        labels: (N,) int32.
    """

    images: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray


def write_predictions(
    path: Path, digests: np.ndarray, predicted: np.ndarray, labels: np.ndarray
) -> None:
    """Writes the file, atomically.

    Args:
        path: of the file.
        digests: (N, 16) uint8 of the images' pixels.
        predicted: (N,) classes.
        labels: (N,) classes.

    Raises:
        RunError: the disk is full or read-only.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=np.ascontiguousarray(digests[:, :8]).view("<u8").ravel(),
        predicted=predicted.astype(np.int32),
        labels=labels.astype(np.int32),
    )
    write_whole(path, buffer.getvalue())


def read_predictions(path: Path) -> KeptPredictions | None:
    """Returns what `write_predictions` wrote; None where a run of before has no such file.

    Raises:
        RunError: the file is torn, a link, or no such file.
    """
    refuse_link(path)
    try:
        with np.load(io.BytesIO(read_regular(path)), allow_pickle=False) as file:
            found = KeptPredictions(**{name: file[name] for name in file.files})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} holds no predictions: {error}") from None
    shapes = {array.shape for array in (found.images, found.predicted, found.labels)}
    if len(shapes) != 1 or found.images.ndim != 1:
        raise RunError(f"{path} holds no predictions: its arrays are not of one length")
    return found


def outcomes_on_the_same(
    first: KeptPredictions, second: KeptPredictions
) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether each was correct on the images that both were asked, (M,) bool each.

    An image that occurs several times counts once, with its first occurrence.
    """
    _, of_first, of_second = np.intersect1d(first.images, second.images, return_indices=True)
    return (
        (first.predicted == first.labels)[of_first],
        (second.predicted == second.labels)[of_second],
    )
