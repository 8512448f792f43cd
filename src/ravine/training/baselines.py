"""Baselines: how far the pixels alone lead, without a network.

Two classical methods answer for the images that a network is evaluated on, from the images that it
is trained on, as they are before augmentation, made smaller: the nearest neighbour (Cover, Hart,
"Nearest neighbor pattern classification", 1967), and ridge regression on one-hot classes, whose λ
has the least error with each training image left out in turn (Hoerl, Kennard 1970; the error in
closed form: Allen, "PRESS", 1974). Both are exact, so that there is nothing to tune and nothing to
wait for. Of many images some are drawn.

Shape letters: N images, M training images, F pixel values of a small image, K classes, S height and
width, C channels.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.core.seeds import generator_for
from ravine.data.dataset import Dataset

_VALUES = 512  # of a small image at most, all channels: 22×22 in grey, 13×13 in colour
_TRAINED, _ANSWERED = 2_000, 1_000  # images at most
_BYTES = 1 << 28  # of decoded images that are read at most
_ON_ACCESS = 300  # images at most of either kind where each has to be decoded
_AT_ONCE = 200  # images that are made smaller at a time
_PENALTIES = tuple(10.0**power for power in range(-4, 4))  # times the mean squared singular value
_NEGLIGIBLE = 1e-10  # of the largest squared singular value


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """What the baselines say of some images of a split.

    Attributes:
        split: name of the split.
        rows: (N,) int64, positions in the split of the images that are answered.
        trained_on: how many training images they know.
        answers: (N,) int64 classes, by the name of the method.
    """

    split: str
    rows: np.ndarray
    trained_on: int
    answers: dict[str, np.ndarray]


def measure_baselines(dataset: Dataset, *, split: str, seed: int) -> Baselines:
    """Returns the answers of all baselines for a split.

    Args:
        dataset: whose images have one class each.
        split: to answer for.
        seed: draws images where there are many.
    """
    trained, answered = _most(dataset)
    known = _drawn(len(dataset.splits["train"]), trained, seed)
    rows = _drawn(len(dataset.splits[split]), answered, seed)
    known_index = dataset.splits["train"][known]
    x, asked = _small(dataset, known_index), _small(dataset, dataset.splits[split][rows])
    labels = torch.from_numpy(dataset.labels[known_index])
    return Baselines(
        split=split,
        rows=rows,
        trained_on=len(known),
        answers={
            "nearest neighbour": nearest_neighbour(x, labels, asked).numpy(),
            "ridge regression": ridge_regression(x, labels, asked).numpy(),
        },
    )


def nearest_neighbour(x: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Returns the class of the training image at the least Euclidean distance, (N,) int64.

    Args:
        x: (M, F) training images.
        labels: (M,) int64.
        asked: (N, F) images to answer for.
    """
    # ‖a − x‖² less ‖a‖², which is the same for all x.
    distances = x.square().sum(1) - 2 * asked @ x.T
    return labels[distances.argmin(1)]


def ridge_regression(x: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Returns the class with the largest fitted value, (N,) int64.

    Args:
        x: (M, F) training images, float64.
        labels: (M,) int64.
        asked: (N, F) images to answer for, float64.
    """
    mean = x.mean(0)
    y = F.one_hot(labels).double()
    share = y.mean(0)
    u, squares, v = _singular(x - mean)
    # Columns of the fit Xβ = Σ u s²/(s² + λ) uᵀY, for each λ.
    projected = u.T @ (y - share)
    best, least = x.new_zeros(x.shape[1], y.shape[1]), float("inf")
    for penalty in _PENALTIES:
        shrunk = squares / (squares + penalty * squares.mean())
        leverage = (u.square() * shrunk).sum(1) + 1 / len(x)
        error = (y - share - u @ (shrunk[:, None] * projected)) / (1 - leverage)[:, None]
        if (found := float(error.square().sum())) < least:
            best, least = v @ ((shrunk / squares.sqrt())[:, None] * projected), found
    return ((asked - mean) @ best + share).argmax(1)


def _singular(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns u (M, R), s² (R,) and v (F, R) of x = u s vᵀ, by the smaller product with itself."""
    wide = x.shape[0] <= x.shape[1]
    squares, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = squares > _NEGLIGIBLE * squares[-1].clamp_min(1e-12)
    squares, vectors = squares[kept], vectors[:, kept]
    other = (x.T if wide else x) @ vectors / squares.sqrt()
    return (vectors, squares, other) if wide else (other, squares, vectors)


def _most(dataset: Dataset) -> tuple[int, int]:
    """Returns how many training images are known at most, and how many are answered for."""
    if not isinstance(dataset.images, np.ndarray):
        return _ON_ACCESS, _ON_ACCESS
    each = int(np.prod(dataset.images.shape[1:]))
    share = min(1.0, _BYTES / each / (_TRAINED + _ANSWERED))
    return int(share * _TRAINED), int(share * _ANSWERED)


def _drawn(count: int, most: int, seed: int) -> np.ndarray:
    """Returns which of `count` images are taken, (N,) int64, sorted."""
    if count <= most:
        return np.arange(count)
    generator = generator_for("baselines", seed=seed)
    return np.sort(torch.randperm(count, generator=generator).numpy()[:most])


def _small(dataset: Dataset, index: np.ndarray) -> Tensor:
    """Returns images as rows (N, F) float64 of values in 0..1, F at most 512."""
    side, parts = math.isqrt(_VALUES // dataset.images.shape[3]), []
    for first in range(0, len(index), _AT_ONCE):
        images = np.ascontiguousarray(dataset.images[index[first : first + _AT_ONCE]])
        values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        if values.shape[2] > side:
            values = F.interpolate(values, size=(side, side), mode="area")
        parts.append(values.flatten(1).double())
    return torch.cat(parts)
