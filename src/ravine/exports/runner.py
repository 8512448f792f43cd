"""A file that has been opened again: from images to what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A program that runs images.

    Attributes:
        run: from images (B, C, H, W) float32 or (B, S, S, C) uint8 to (B, K) float32.
        runtime: what runs it, with its version.
    """

    run: Callable[[np.ndarray], np.ndarray]
    runtime: str
