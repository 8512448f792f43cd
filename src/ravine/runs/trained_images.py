"""trained_images.npy: which images a network was trained on, by their pixels and not their names.

It holds the first 8 bytes of each training image's digest, sorted: (M,) uint64. The digest is that
of the pixels before they are resized.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ravine.core.atomic import write_whole
from ravine.core.errors import RunError
from ravine.runs.links import refuse_link


def write_trained_images(path: Path, digests: np.ndarray) -> None:
    """Writes the file.

    Args:
        path: of the file.
        digests: (M, 16) uint8 of the training images.

    Raises:
        RunError: the disk is full or read-only.
    """
    buffer = io.BytesIO()
    np.save(buffer, np.unique(_keys(digests)))
    write_whole(path, buffer.getvalue())


def were_trained_on(digests: np.ndarray, files: Sequence[Path]) -> np.ndarray | None:
    """Returns (N,) bool: which images a network of these files was trained on.

    None where there is none of the files, as in runs of before.

    Args:
        digests: (N, 16) uint8.
        files: of one run, or of each fold of a cross-validated run.

    Raises:
        RunError: a file is torn, a link, or not one of these.
    """
    known = [read_trained_images(file) for file in files if file.is_file()]
    return np.isin(_keys(digests), np.concatenate(known)) if known else None


def read_trained_images(path: Path) -> np.ndarray:
    """Returns what `write_trained_images` wrote, (M,) uint64.

    Raises:
        RunError: the file is torn, a link, or no such file.
    """
    refuse_link(path)
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise RunError(f"{path} cannot be read: {error}; delete it to go without") from None
    if not isinstance(found, np.ndarray) or found.dtype != np.uint64 or found.ndim != 1:
        raise RunError(f"{path} is no list of trained images; delete it to go without")
    return found


def _keys(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests[:, :8]).view("<u8").ravel()
