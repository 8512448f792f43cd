"""A validation loss that is the training loss with the sign turned: one rises as the other falls.

So it is where training descends what validation wants to be high, such as the reward of a policy.
A network that memorises may validate worse as it trains better, but not from the first step on, and
not step by step by the same amount; and only losses that fall below 0 are looked at.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ravine.findings.finding import Finding
from ravine.findings.run_trace import Trace

_FEWEST, _LOSSES = 5, 3  # validations, and training losses before each
_AGAINST = -0.9  # correlation of both
_STEEP, _FLAT = -1.5, -0.65  # rise of validation over the rise of training
_SUM = 0.35  # of the rise of validation, that both may be together
_CERTAIN = 6.0  # standard errors that training has fallen by


def find_mirrored(run: Trace) -> Iterator[Finding]:
    """Yields a validation loss that rises step by step as the training loss falls below 0."""
    rows = run.validations
    rows = rows[np.isfinite(rows[:, 1])] if len(rows) else rows
    if run.least >= 0 or run.classes is not None or len(rows) < _FEWEST:
        return
    ends = [-np.inf, *rows[:, 0]]
    parts = [run.losses[(run.steps > a) & (run.steps <= b)] for a, b in pairwise(ends)]
    late = [part[np.isfinite(part)][-max(_LOSSES, len(part) // 3) :] for part in parts]
    if min(map(len, late)) < _LOSSES:
        return
    train, loss = np.array([part.mean() for part in late]), rows[:, 1]
    error = np.sqrt(np.mean([part.var(ddof=1) / len(part) for part in late]))
    if train[0] - train[-1] < _CERTAIN * error or loss[-1] <= loss[0]:
        return
    against = float(np.corrcoef(train, loss)[0, 1])
    slope = float(np.polyfit(train, loss, 1)[0])
    both = np.abs(train + loss + 2 * run.least).mean()
    is_mirrored = both < _SUM * (loss[-1] - loss[0]) and loss.argmin() == 0
    if is_mirrored and against < _AGAINST and _STEEP < slope < _FLAT:
        yield _mirrored(train[[0, -1]] + run.least, loss[[0, -1]] + run.least, against)


def _mirrored(train: np.ndarray, loss: np.ndarray, against: float) -> Finding:
    """Returns the finding of losses (first, last) of training and of validation."""
    return Finding(
        severity="warning",
        code="loss-of-wrong-sign",
        seen=f"from validation to validation the training loss falls ({train[0]:.3g} to "
        f"{train[1]:.3g}), and that of validation rises by about as much ({loss[0]:.3g} to "
        f"{loss[1]:.3g}; correlation {against:.2f})",
        cause="one is the other with the sign turned round: a reward, a likelihood or a similarity "
        "is descended that must be climbed, or validation records a score in place of a loss",
        cure="write the minus before what is to become large: loss = -(ratio * advantage).mean()",
        evidence={
            "correlation": against,
            "training": float(train[1]),
            "validation": float(loss[1]),
        },
    )
