"""A curve of losses as numbers: its mean, its noise from step to step, and smoothed."""

import math

import numpy as np

_MEDIAN_OF_DIFFERENCES = 0.954  # |x − y| of two normal numbers, over their standard deviation


def mean_of(values: np.ndarray) -> tuple[float, float]:
    """Returns the mean of finite values (N,) and its standard error."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return math.nan, math.inf
    return float(known.mean()), float(known.std() / math.sqrt(max(1, len(known) - 1)))


def noise_of(losses: np.ndarray) -> float:
    """Returns the deviation that single losses (N,) have from step to step."""
    apart = np.abs(np.diff(losses[np.isfinite(losses)]))
    return float(np.median(apart)) / _MEDIAN_OF_DIFFERENCES if len(apart) else 0.0


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Returns means (N,) of losses (N,), each over a fortieth of the run."""
    width = max(1, len(losses) // 40)
    known = np.where(np.isfinite(losses), losses, np.nanmax(losses))
    padded = np.concatenate([np.full(width - 1, known[0]), known])
    return np.convolve(padded, np.ones(width) / width, "valid")
