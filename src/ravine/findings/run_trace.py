"""A run over time as arrays: training losses, learning rates and validations, from its rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A run over time.

    Attributes:
        steps: (n) of each row about the training.
        losses: (n) training loss; NaN where it was not finite.
        rates: (n) learning rate; NaN where it is not known.
        skipped: steps that were undone because they were not finite.
        validations: (step, validation loss, validation accuracy, training loss, training
            accuracy), NaN where one is not known.
        classes: K, None where it is not known.
        normalised: the network has batch norm.
        floor: the least training loss that the targets allow, `target_floor`; 0 for hard labels.
        ignorance: the loss of knowing only how frequent each label is, where an image has several;
            None where it has one class.
        least: the least recorded loss, where it is below 0: `losses` and `validations` are those
            above it then.
    """

    steps: np.ndarray
    losses: np.ndarray
    rates: np.ndarray
    skipped: int
    validations: np.ndarray
    classes: int | None
    normalised: bool
    floor: float = 0.0
    ignorance: float | None = None
    least: float = 0.0

    def level(self, share: float) -> float:
        """Returns the training loss at a share of the way from the floor to `chance`."""
        return self.floor + share * (self.chance - self.floor)

    @property
    def chance(self) -> float:
        """The loss of a network that knows nothing: ln K, or that of the first rows."""
        if self.ignorance is not None:
            return self.ignorance
        if self.classes:
            return math.log(self.classes)
        known = self.losses[np.isfinite(self.losses)]
        if not len(known):
            return math.nan
        # The very first losses stand for a run that blows up within its first twentieth.
        return float(min(known[: max(1, len(known) // 20)].mean(), np.median(known[:3])))


def trace(
    history: Sequence[Mapping[str, Any]],
    *,
    classes: int | None = None,
    normalised: bool = False,
    floor: float = 0.0,
    ignorance: float | None = None,
) -> Trace:
    """Returns the rows of history.jsonl as arrays."""
    least = _least(history)
    history = _above(history, least)
    steps = [row for row in history if row.get("kind") == "step" and "step" in row]
    epochs = [row for row in history if row.get("kind") == "epoch" and "step" in row]
    names = ("step", "loss", "accuracy", "train_loss", "train_accuracy")
    return Trace(
        steps=np.array([row["step"] for row in steps], float),
        losses=np.array([_number(row.get("loss")) for row in steps]),
        rates=np.array([_number(row.get("lr")) for row in steps]),
        skipped=max([int(row.get("skipped") or 0) for row in steps], default=0),
        validations=np.array([[_number(row.get(n)) for n in names] for row in epochs]).reshape(
            -1, len(names)
        ),
        classes=classes,
        normalised=normalised,
        floor=floor,
        ignorance=ignorance,
        least=least,
    )


_LOSSES = ("loss", "train_loss")


def _least(history: Sequence[Mapping[str, Any]]) -> float:
    """Returns the least loss of rows, 0 where none is below."""
    known = [_number(row.get(name)) for row in history for name in _LOSSES]
    return min((v for v in known if math.isfinite(v) and v < 0), default=0.0)


def _above(history: Sequence[Mapping[str, Any]], least: float) -> Sequence[Mapping[str, Any]]:
    """Returns rows whose losses are those above the least one, where it is below 0.

    A likelihood above 1, or a negated score: there 0 is no floor, and no loss is a share of
    another.
    """
    if least >= 0:
        return history
    return [
        {k: v - least if k in _LOSSES and _number(v) == v else v for k, v in row.items()}
        for row in history
    ]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
