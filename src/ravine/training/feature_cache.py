"""Features kept beside the decoded images, so that the next run with this backbone starts at once.

    train-0.npy … train-(V−1).npy   (N, F) float32, one file for each view; the first as it is
    validation.npy                  (M, F) float32

The folder's name follows from all that decides the features. Each file is written beside and
renamed, so that two runs do no harm to each other.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from ravine.core.atomic import write_whole
from ravine.core.errors import DataError, RunError
from ravine.data.cache_lookup import cache_root, no_cache

_FORMAT = 1
_KEY_LENGTH = 32


def feature_key(about: Mapping[str, Any]) -> str:
    """Returns the name of a cache from what decides its features, as plain values."""
    text = json.dumps({"format": _FORMAT, **about}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCache:
    """The files of a backbone's features; without a folder nothing is kept.

    Attributes:
        folder: of the files, or None.
    """

    folder: Path | None

    @classmethod
    def at(cls, key: str, *, keep: bool) -> "FeatureCache":
        """Returns the cache of a key in the user's cache folder."""
        return cls(folder=cache_root() / key if keep else None)

    def load_or_make(self, name: str, count: int, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Returns the features (N, F) float32 of a file, which is made where it is missing.

        Args:
            name: of the file, without its ending.
            count: N; a file of another length is made anew.
            make: returns the features.

        Raises:
            DataError: the cache cannot be written.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.npy"
        found = _load(path, count)
        if found is not None:
            return found
        made = make()
        content = io.BytesIO()
        np.save(content, made)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, content.getvalue())
        except (OSError, RunError) as error:
            raise DataError(str(no_cache(self.folder, error))) from None
        return made


def _load(path: Path, count: int) -> np.ndarray | None:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = isinstance(found, np.ndarray) and found.dtype == np.float32 and len(found) == count
    return found if fits else None
