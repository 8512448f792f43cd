"""Copies that were mirrored, shifted by some pixels, or made brighter or darker.

The size of an image's frequencies stays where the image is shifted, and changes places where it is
mirrored (Oppenheim and Lim, 1981, on what lies in size and what in phase). Images whose sizes are
alike, against what all images have in common, are laid over each other where their correlation is
largest, as they are and mirrored, and compared pixel by pixel in what both show.

Shape letters: N images, S height and width, C channels, F numbers of an image's description.
"""

import numpy as np

from ravine.data.block_means import block_means

_GRID = 32  # pixels a side that are described
_FREQUENCIES = 7  # along each axis
_ALIKE = 0.4  # correlation of two descriptions
_LEAST = 0.2  # variance of a part of the descriptions, over the mean one
_SHIFT = 8  # of the side: one part of it, that an image may be shifted by at most
_DIFFERS = 0.15  # root mean square of the difference, over the pixels' standard deviation
_FLAT = 4.0  # standard deviation below which an image shows too little
_BLOCK, _AT_ONCE = 512, 1_000  # images that are compared, and described, at a time
_PAIRS = 500  # that are laid over each other, at most


def moved_copies(images: np.ndarray, index: np.ndarray) -> list[tuple[int, int]]:
    """Returns pairs of images of which one is the other, moved; each (smaller, larger), sorted.

    Args:
        images: (N, S, S, C) uint8, S of 16 and more.
        index: (M,) int64, of the images to compare.
    """
    if len(index) < 2 or images.shape[1] < _GRID // 2:
        return []
    parts = [index[k : k + _AT_ONCE] for k in range(0, len(index), _AT_ONCE)]
    described = np.concatenate([_descriptions(images[part]) for part in parts])
    shows = described.any(1)
    index, described = index[shows], described[shows]
    if len(index) < 2:
        return []
    near = [(int(index[a]), int(index[b])) for a, b in _alike(_whitened(described))]
    pairs = sorted((min(pair), max(pair)) for pair in near)
    return [(a, b) for a, b in pairs if _is_moved(images[a], images[b])]


def _descriptions(images: np.ndarray) -> np.ndarray:
    """Returns sizes of frequencies of images (B, S, S, C), (B, F) float32; 0 where one is flat."""
    grey = block_means(images, _GRID)
    grey -= grey.mean((1, 2), keepdims=True)
    deviation = grey.std((1, 2))
    window = np.sqrt(np.hanning(grey.shape[1] + 2)[1:-1]).astype(np.float32)
    sizes = np.abs(np.fft.fft2(grey * window[:, None] * window))
    low = np.arange(_FREQUENCIES)
    one, other = sizes[:, low][:, :, low], sizes[:, low][:, :, -low]
    both = np.concatenate([one + other, np.abs(one - other)], 1).reshape(len(images), -1)
    both = np.log1p(both / np.maximum(deviation, 1e-6)[:, None])
    return np.where(deviation[:, None] >= _FLAT, both, 0).astype(np.float32)


def _whitened(described: np.ndarray) -> np.ndarray:
    """Returns descriptions (N, F) without what they have in common, each of unit length.

    Blurred images have all high frequencies small at once: numbers that go together count once.
    """
    apart = described - described.mean(0)
    covariance = apart.T @ apart / len(apart)
    values, vectors = np.linalg.eigh(covariance)
    white = apart @ (vectors / np.sqrt(np.maximum(values, _LEAST * values.mean())))
    length: np.ndarray = np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12)
    return (white / length).astype(np.float32)


def _alike(described: np.ndarray) -> list[tuple[int, int]]:
    """Returns pairs of rows (N, F), of unit length, whose products are largest: not too many."""
    pairs, sizes = np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    for first in range(0, len(described), _BLOCK):
        products = np.triu(described[first : first + _BLOCK] @ described[first:].T, 1)
        places = np.argwhere(products >= _ALIKE)
        pairs = np.concatenate([pairs, places + first])
        sizes = np.concatenate([sizes, products[places[:, 0], places[:, 1]]])
        best = np.argsort(-sizes, kind="stable")[:_PAIRS]
        pairs, sizes = pairs[best], sizes[best]
    return [(int(a), int(b)) for a, b in pairs]


def _is_moved(first: np.ndarray, second: np.ndarray) -> bool:
    """Returns whether two images (S, S, C) are one, shifted, mirrored, brighter or darker."""
    a, b = (x.mean(2, dtype=np.float32) for x in (first, second))
    return any(
        _difference(a, way, shift) <= _DIFFERS
        for way in (b, b[:, ::-1])
        for shift in _likely_shifts(a, way)
    )


def _likely_shifts(a: np.ndarray, b: np.ndarray) -> set[tuple[int, int]]:
    """Returns by how many rows and columns `b` may lie below and right of `a`, both (S, S).

    By correlation, and by that of the phases alone, whose peak is sharp where little else differs
    (Kuglin and Hines, 1975); and not at all.
    """
    most = max(1, len(a) // _SHIFT)
    spectra = [np.fft.fft2(x - x.mean()) for x in (a, b)]
    product = np.conj(spectra[0]) * spectra[1]
    near, found = np.arange(-most, most + 1), {(0, 0)}
    for one in (product, product / np.maximum(np.abs(product), 1e-6)):
        place = int(np.fft.ifft2(one).real[near][:, near].argmax())
        found.add((int(near[place // len(near)]), int(near[place % len(near)])))
    return found


def _difference(a: np.ndarray, b: np.ndarray, shift: tuple[int, int]) -> float:
    """Returns how much images (S, S) differ where both are seen, in deviations of the pixels."""
    size = len(a)
    (rows, columns), parts = shift, []
    for x, sign in ((a, -1), (b, 1)):
        top, left = max(0, sign * rows), max(0, sign * columns)
        parts.append(x[top : top + size - abs(rows), left : left + size - abs(columns)])
    if min(float(part.std()) for part in parts) < _FLAT:
        return np.inf
    one, other = ((part - part.mean()) / part.std() for part in parts)
    return float(np.sqrt(np.square(one - other).mean()))
