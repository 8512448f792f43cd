"""From a network's outputs to probabilities and decisions: one class per image, or several labels.

Shape letters: B images, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """How logits are read.

    Attributes:
        kind: `one` class per image, the likeliest; or `several` labels, each by itself.
        thresholds: (K,) probabilities from which on a label is given; empty for 0.5 each.
    """

    kind: str = "one"
    thresholds: tuple[float, ...] = ()

    def layer(self) -> nn.Module:
        """Returns the layer from logits (B, K) to probabilities (B, K)."""
        return nn.Softmax(1) if self.kind == "one" else nn.Sigmoid()

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns probabilities (B, K) float64 of logits (B, K)."""
        values = torch.from_numpy(np.asarray(logits, np.float64))
        found: Tensor = self.layer()(values)
        return found.numpy()

    def decisions(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the class of each image, (B,) int64, or its labels, (B, K) bool."""
        if self.kind == "one":
            return probabilities.argmax(1)
        limits = np.asarray(self.thresholds or 0.5)
        return np.asarray(probabilities >= limits)

    def differing(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Returns whether two programs decide otherwise, (B,) bool, from probabilities (B, K)."""
        return self._rows(np.not_equal(self.decisions(one), self.decisions(other)))

    def hits(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns whether each decision is that of the labels, (B,) bool.

        Args:
            probabilities: (B, K).
            labels: (B,) classes, or (B, K) of 0 and 1.
        """
        return ~self._rows(np.not_equal(self.decisions(probabilities), labels))

    def to_json(self) -> Mapping[str, object]:
        """Returns plain values, for the metadata of a file."""
        return {"kind": self.kind, "thresholds": list(self.thresholds)}

    @staticmethod
    def _rows(apart: np.ndarray) -> np.ndarray:
        return apart if apart.ndim == 1 else np.asarray(apart.any(1))
