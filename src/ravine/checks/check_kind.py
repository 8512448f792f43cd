"""One row of the table of checks, and the groups of symptoms that its rows name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, final

from ravine.checks.context import CheckContext
from ravine.findings.detectors import RUN_SYMPTOMS
from ravine.findings.finding import Finding

CheckFunction = Callable[[CheckContext], Iterator[Finding]]
Stage = Literal[
    "before", "labels", "first batch", "evaluation", "state", "labels probe", "training"
]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One kind of finding before training.

    Attributes:
        code: of the finding.
        function: that yields it, among others of its subject.
        stage: when it runs: before any forward pass; on labels, once the number of outputs is
            known; on the first batch, when it was measured; in evaluation mode; on the state of
            network and step; on request; after training for some steps.
        thresholds: of `thresholds.py`, that it compares with.
        explains: codes of the symptoms that this cause brings about.
    """

    code: str
    function: CheckFunction
    stage: Stage
    thresholds: tuple[float, ...] = ()
    explains: tuple[str, ...] = ()


START: Final = ("exploding-at-start", "vanishing-at-start", "initial-loss-high")
LATER_UNITS: Final = ("units-died", "units-saturated")
UNITS: Final = ("dead-units", "saturated-units", *LATER_UNITS)
RATE: Final = ("rate-too-high", "rate-too-low")
VALIDATION: Final = (
    *("overfitting", "norm-statistics-disagree", "validation-at-chance", "labels-unrelated"),
    *("validation-prepared-differently", "validation-labels-unrelated"),
)
LEARNING: Final = ("zero-gradient", "cannot-overfit", *RATE, *RUN_SYMPTOMS)
