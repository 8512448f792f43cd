"""What a run predicts: probabilities, and the classes or labels that follow from them.

Shape letters: N images, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SHOWN = 5  # images, and classes of each


@dataclass(frozen=True, kw_only=True, repr=False)
class Predictions:
    """The probabilities that a network predicts for images.

    Attributes:
        names: paths of the N images, as they were found.
        classes: names of the K classes, or labels.
        probabilities: (N, K) float32; rows sum to 1, unless an image has several labels.
        unreadable: name and reason of each file that is no readable image.
        thresholds: (K,) of several labels, from which a probability is a yes; None where an image
            has one class.
    """

    names: Sequence[str]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    unreadable: Sequence[tuple[str, str]]
    thresholds: np.ndarray | None = None

    @property
    def labels(self) -> list[str] | list[tuple[str, ...]]:
        """The likeliest class of each image; of several labels those that it has."""
        if self.thresholds is not None:
            return self.label_sets
        return [self.classes[index] for index in self.probabilities.argmax(1)]

    def __repr__(self) -> str:
        lines = [self._line(index) for index in range(min(_SHOWN, len(self.names)))]
        if len(self.names) > _SHOWN:
            lines.append(f"… {len(self.names):,} images in all; .labels, .probabilities")
        lines += [f"unreadable: {name}: {why}" for name, why in self.unreadable[:_SHOWN]]
        return "\n".join(lines) or "no image"

    def _line(self, index: int) -> str:
        """Returns an image's likeliest classes in a line."""
        row = self.probabilities[index]
        best = row.argsort()[::-1][:_SHOWN]
        return f"{self.names[index]}: " + ", ".join(
            f"{self.classes[k]} {100 * row[k]:.1f} %" for k in best
        )

    @property
    def label_sets(self) -> list[tuple[str, ...]]:
        """The labels of each image, none or several; where it has one class, that alone."""
        if self.thresholds is None:
            return [(self.classes[index],) for index in self.probabilities.argmax(1)]
        return [
            tuple(self.classes[k] for k in np.flatnonzero(row >= self.thresholds))
            for row in self.probabilities
        ]
