"""The evaluations of a run so far, and the weights of the best of them.

The best has the highest accuracy on the validation images; among equals the least loss. The best
of many evaluations on the same images is better than its weights are: `luck_of_choice` says by
how much at most. What is kept is part of the training state, so that a resumed run, or one that
is taken back, has the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from ravine.training.evaluation import Evaluation


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """One evaluation on the validation images.

    Attributes:
        step: steps done.
        accuracy: in [0, 1]; of several labels the mean average precision.
        loss: the mean cross-entropy; NaN or infinite where a network is broken.
    """

    step: int
    accuracy: float
    loss: float

    @property
    def score(self) -> tuple[float, float]:
        """What is compared: the larger one is better."""
        return self.accuracy, -self.loss if math.isfinite(self.loss) else -math.inf


@final
@dataclass(slots=True, kw_only=True)
class Validations:
    """The evaluations of a run so far.

    Attributes:
        keeps: whether the weights of the best are copied.
        rows: the evaluations, by step.
        weights: of the best one, by name; empty where none was kept.
    """

    keeps: bool
    rows: list[Evaluated] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best(self) -> Evaluated | None:
        """The best evaluation: the first of equals."""
        return max(self.rows, key=lambda row: row.score, default=None)

    def add(self, step: int, found: Evaluation, model: nn.Module) -> None:
        """Records an evaluation, and copies the model's weights where it is the best so far."""
        row = Evaluated(step=step, accuracy=found.score, loss=found.loss)
        before = self.best
        self.rows.append(row)
        if self.keeps and (before is None or row.score > before.score):
            self.weights = {name: value.clone() for name, value in model.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Returns the weights that a checkpoint keeps, by name, of any shape."""
        return dict(self.weights)

    def values(self) -> list[list[float]]:
        """Returns the evaluations as plain values."""
        return [[row.step, row.accuracy, row.loss] for row in self.rows]

    def load(self, weights: Mapping[str, Tensor], rows: Sequence[Sequence[Any]]) -> None:
        """Replaces all by what a checkpoint kept: weights by name, of any shape, and the rows.

        Raises:
            ValueError: a row is none of an evaluation.
        """
        found = [
            Evaluated(
                step=int(step),
                accuracy=float(accuracy),
                loss=math.nan if loss is None else float(loss),
            )
            for step, accuracy, loss in rows
        ]
        for row in found:
            if not (row.step >= 0 and 0.0 <= row.accuracy <= 1.0):
                raise ValueError(f"accuracy {row.accuracy:g} at step {row.step} is none")
        self.rows, self.weights = found, dict(weights)


def luck_of_choice(accuracy: float, *, images: int, evaluations: int) -> float:
    """Returns by how much the best of several evaluations may exceed its weights' accuracy.

    The expected maximum of independent normal errors, an upper bound where evaluations on the same
    images agree in part. Blom's approximation, 1958, of the expectation in standard errors; these
    with two hits and two misses more (Agresti, Coull 1998), as few images that are all right do not
    say that there is no error.

    Args:
        accuracy: of the best, in [0, 1].
        images: that each was evaluated on.
        evaluations: how many there were.

    >>> round(luck_of_choice(0.9, images=1000, evaluations=20), 4)
    0.0178
    """
    if evaluations < 2:
        return 0.0
    share = (evaluations - 0.375) / (evaluations + 0.25)
    errors = float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))
    share = (accuracy * images + 2) / (images + 4)
    return errors * math.sqrt(share * (1 - share) / (images + 4))
