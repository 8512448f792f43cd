"""The losses between which a network of several labels learns: of knowing nothing, and the floor.

Shape letters: K labels.
"""

from collections.abc import Sequence

import numpy as np

from ravine.findings.target_floor import mixing_shares


def binary_entropy(shares: np.ndarray | float) -> np.ndarray:
    """Returns −x ln x − (1 − x) ln (1 − x) of shares of any shape, in nats; 0 at 0 and 1.

    >>> float(round(binary_entropy(0.5).item(), 6))
    0.693147
    """
    x = np.clip(np.asarray(shares, np.float64), 0.0, 1.0)
    both = np.stack([x, 1 - x])
    return -np.where(both > 0, both * np.log(np.where(both > 0, both, 1.0)), 0.0).sum(0)


def ignorance_of(shares: Sequence[float], *, label_smoothing: float = 0.0) -> float:
    """Returns the least binary cross-entropy of an image without looking at it, in nats.

    It is the sum of the entropies of the labels' shares p, which smoothing s makes (1−s)p + s/2.

    Args:
        shares: (K,) of the images that have each label.
        label_smoothing: s in [0, 1).
    """
    p = np.asarray(shares, np.float64)
    return float(binary_entropy((1 - label_smoothing) * p + label_smoothing / 2).sum())


def label_floor(
    shares: Sequence[float],
    *,
    label_smoothing: float = 0.0,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> float:
    """Returns the expected entropy of the targets of an image, in nats.

    A target of label k is v(λy + (1−λ)y') + u with v = 1−s, u = s/2: of the entropy h(u) where both
    images agree, and h(vλ + u) where they differ, of probability 2p(1−p). See `expected_floor`.

    Args:
        shares: (K,) of the images that have each label.
        label_smoothing: s in [0, 1).
        mixup: its α, 0 for off.
        cutmix: its α, 0 for off.
    """
    u, v = label_smoothing / 2, 1 - label_smoothing
    p = np.asarray(shares, np.float64)
    differ = 2 * p * (1 - p)
    alike = float(binary_entropy(u))
    mixed = [
        float(weights @ binary_entropy(v * kept + u))
        for kept, weights in mixing_shares(mixup, cutmix)
    ]
    of_pair = float(np.mean(mixed)) if mixed else alike
    return float((differ * of_pair + (1 - differ) * alike).sum())
