"""Copies that were mirrored, shifted or made darker: found, and nothing else."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from ravine.data.moved_copies import moved_copies


def pictures(count: int, *, side: int = 36) -> np.ndarray:
    """Returns grey pictures (N, S, S, 3) whose frequencies fall as those of photographs do."""
    noise = np.random.default_rng(0).normal(size=(count, side, side))
    one = np.fft.fftfreq(side)
    frequency = np.maximum(np.hypot(one[:, None], one), 1 / side)
    made = np.fft.ifft2(np.fft.fft2(noise) / frequency**1.2).real
    made = 128 + 45 * made / made.std((1, 2), keepdims=True)
    return np.clip(made, 0, 255).astype(np.uint8)[..., None].repeat(3, 3)


def mirrored(x: np.ndarray) -> np.ndarray:
    return x[:, ::-1]


def shifted(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((4, 4), (4, 4), (0, 0)), mode="edge")
    return padded[6 : 6 + len(x), 1 : 1 + len(x)]


def darker(x: np.ndarray) -> np.ndarray:
    return (0.85 * x + 10).astype(np.uint8)


def all_of_it(x: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(darker(shifted(mirrored(x)))).save(buffer, "JPEG", quality=90)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize(
    ("change", "share"), [(mirrored, 1.0), (shifted, 1.0), (darker, 1.0), (all_of_it, 0.7)]
)
def test_moved_copies_are_found_and_nothing_else(
    change: Callable[[np.ndarray], np.ndarray], share: float
) -> None:
    originals = pictures(600)  # more than one block of comparisons
    copied = np.arange(0, 600, 29)
    everything = np.concatenate([originals, np.stack([change(originals[k]) for k in copied])])

    found = moved_copies(everything, np.arange(len(everything)))

    wanted = {(int(k), 600 + n) for n, k in enumerate(copied)}
    assert set(found) <= wanted
    assert len(found) >= share * len(wanted)


def test_flat_few_and_tiny_images_have_no_copies() -> None:
    flat = np.full((3, 28, 28, 1), 90, np.uint8)
    assert moved_copies(flat, np.arange(3)) == []
    assert moved_copies(pictures(3), np.arange(1)) == []
    assert moved_copies(pictures(3, side=8), np.arange(3)) == []


def test_pictures_of_one_kind_are_no_copies() -> None:
    kind = pictures(1).astype(int)
    other = np.clip(kind + np.random.default_rng(1).normal(0, 60, (40, *kind.shape[1:])), 0, 255)

    assert moved_copies(other.astype(np.uint8), np.arange(40)) == []
