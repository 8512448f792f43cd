"""The table of checks: what each finds, with which threshold, and which symptoms it explains.

To add a check: the function in the file of its subject, a row here, the test, a line in
docs/diagnose.md. The order is that in which causes are believed: `merge` puts a symptom under the
first cause above it that explains it. The rows of `DETECTORS` are findings over time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, final

from ravine.checks.activations import check_symmetry, check_units, check_variances
from ravine.checks.context import CheckContext
from ravine.checks.inputs import check_inputs
from ravine.checks.label_relation import check_label_relation
from ravine.checks.labels import check_labels
from ravine.checks.learning import check_decay
from ravine.checks.loss_function import check_loss
from ravine.checks.norm_statistics import check_norm_statistics
from ravine.checks.short_trainings import check_few_examples, check_learning_rate
from ravine.checks.wiring import (
    check_dropout,
    check_gradients,
    check_mode,
    check_optimizer,
    check_step,
)
from ravine.findings.detectors import DETECTORS, RUN_SYMPTOMS, Detector
from ravine.findings.finding import Finding
from ravine.findings.thresholds import (
    DEAD,
    EXPLODING,
    FADED,
    FEW_UNITS,
    IMBALANCE,
    IMBALANCE_FROM,
    INITIAL_LOSS,
    INITIAL_LOSS_NATS,
    LABEL_NOISE,
    LABELS_RELATED,
    LARGE_INPUTS,
    LARGE_LOGITS,
    NORM_LOSS,
    NORM_LOSS_NATS,
    OVERFIT,
    RATE_FAR,
    RATE_HIGH,
    RATE_LOW,
    RATE_NEAR,
    SATURATED,
    SMALL_INPUTS,
    STRONG_DECAY,
    STRONG_DROPOUT,
    UNSHUFFLED,
    VANISHING,
)

CheckFunction = Callable[[CheckContext], Iterator[Finding]]
Stage = Literal["before", "labels", "first batch", "state", "labels probe", "training"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One kind of finding before training.

    Attributes:
        code: of the finding.
        function: that yields it, among others of its subject.
        stage: when it runs: before any forward pass; on labels, once the number of outputs is
            known; on the first batch, when it was measured; on the state of network and step; on
            request; after training for some steps.
        thresholds: of `thresholds.py`, that it compares with.
        explains: codes of the symptoms that this cause brings about.
    """

    code: str
    function: CheckFunction
    stage: Stage
    thresholds: tuple[float, ...] = ()
    explains: tuple[str, ...] = ()


_START: Final = ("exploding-at-start", "vanishing-at-start", "initial-loss-high")
_LATER_UNITS: Final = ("units-died", "units-saturated")
_UNITS: Final = ("dead-units", "saturated-units", *_LATER_UNITS)
_RATE: Final = ("rate-too-high", "rate-too-low")
_LEARNING: Final = ("zero-gradient", "cannot-overfit", *_RATE, *RUN_SYMPTOMS)

CHECKS: Final[tuple[Check | Detector, ...]] = (
    Check(
        code="inputs-not-finite",
        function=check_inputs,
        stage="before",
        explains=(*_START, *_UNITS, *_LEARNING, "labels-unrelated", "overfitting"),
    ),
    Check(code="labels-out-of-range", function=check_labels, stage="labels", explains=_LEARNING),
    Check(
        code="inputs-alike",
        function=check_inputs,
        stage="before",
        explains=(*_START, *_UNITS, *_LEARNING, "labels-unrelated", "not-shuffled"),
    ),
    Check(
        code="loss-of-wrong-sign",
        function=check_loss,
        stage="first batch",
        explains=(*_LEARNING, "initial-loss-high", "overfitting"),
    ),
    Check(
        code="softmax-twice",
        function=check_loss,
        stage="first batch",
        explains=(*_LEARNING, *_START, "activation-on-logits"),
    ),
    Check(
        code="loss-expects-log-probabilities",
        function=check_loss,
        stage="first batch",
        explains=(*_LEARNING, *_START, "overfitting"),
    ),
    Check(
        code="activation-on-logits",
        function=check_loss,
        stage="first batch",
        explains=(*_LEARNING, *_UNITS, "initial-loss-high"),
    ),
    Check(
        code="step-does-not-update",
        function=check_step,
        stage="state",
        explains=(*_LEARNING, "not-in-optimizer", "gradients-not-cleared"),
    ),
    Check(
        code="no-gradient",
        function=check_gradients,
        stage="first batch",
        explains=(*_LEARNING, "not-in-optimizer", "vanishing-at-start"),
    ),
    Check(code="not-in-optimizer", function=check_optimizer, stage="before", explains=_LEARNING),
    Check(
        code="gradients-not-cleared",
        function=check_step,
        stage="state",
        explains=DETECTORS["gradients-not-cleared"].explains,
    ),
    Check(  # with a step of the user's also by check_step
        code="eval-mode",
        function=check_mode,
        stage="before",
        explains=(*_LEARNING, *_START, "norm-statistics-disagree", "overfitting"),
    ),
    Check(
        code="inputs-not-scaled",
        function=check_inputs,
        stage="before",
        thresholds=(SMALL_INPUTS, LARGE_INPUTS),
        explains=(*_START, *_UNITS, *_LEARNING, "overfitting"),
    ),
    Check(
        code="symmetric-weights",
        function=check_symmetry,
        stage="before",
        explains=(*_START, *_UNITS, *_LEARNING),
    ),
    Check(
        code="dead-units",
        function=check_units,
        stage="first batch",
        thresholds=(DEAD, FEW_UNITS, FADED),
        explains=(*_LEARNING, *_START, "units-died"),
    ),
    Check(
        code="saturated-units",
        function=check_units,
        stage="first batch",
        thresholds=(SATURATED,),
        explains=(*_START, *_LEARNING, "units-saturated", "overfitting"),
    ),
    Check(
        code="dropout-too-strong",
        function=check_dropout,
        stage="before",
        thresholds=(STRONG_DROPOUT,),
        explains=(*_START, "underfitting", "plateau", "rate-too-low", "cannot-overfit"),
    ),
    Check(
        code="exploding-at-start",
        function=check_variances,
        stage="first batch",
        thresholds=(EXPLODING, LARGE_LOGITS),
        explains=(*_LEARNING, *_LATER_UNITS, "initial-loss-high", "overfitting"),
    ),
    Check(
        code="vanishing-at-start",
        function=check_variances,
        stage="first batch",
        thresholds=(VANISHING,),
        explains=(*_LEARNING, *_LATER_UNITS),
    ),
    Check(
        code="not-shuffled",
        function=check_labels,
        stage="labels",
        thresholds=(UNSHUFFLED,),
        explains=(*_RATE, *RUN_SYMPTOMS, "norm-statistics-disagree", "overfitting", "imbalance"),
    ),
    Check(
        code="labels-unrelated",
        function=check_label_relation,
        stage="labels probe",
        thresholds=(LABELS_RELATED,),
        explains=("label-noise", *_RATE, *RUN_SYMPTOMS, "overfitting"),
    ),
    Check(
        code="zero-gradient",
        function=check_few_examples,
        stage="training",
        explains=("cannot-overfit", "plateau", "underfitting"),
    ),
    Check(
        code="decay-too-strong",
        function=check_decay,
        stage="before",
        thresholds=(STRONG_DECAY,),
        explains=("underfitting", "plateau", "rate-too-low"),
    ),
    Check(
        code="rate-too-high",
        function=check_learning_rate,
        stage="training",
        thresholds=(RATE_HIGH, RATE_NEAR),
        explains=(*_LATER_UNITS, *RUN_SYMPTOMS, "overfitting"),
    ),
    Check(
        code="norm-statistics-disagree",
        function=check_norm_statistics,
        stage="state",
        thresholds=(NORM_LOSS, NORM_LOSS_NATS),
        explains=DETECTORS["norm-statistics-disagree"].explains,
    ),
    Check(
        code="label-noise",
        function=check_label_relation,
        stage="labels probe",
        thresholds=(LABEL_NOISE,),
        explains=("overfitting", "underfitting", "plateau"),
    ),
    DETECTORS["not-finite"],
    DETECTORS["diverged"],
    Check(
        code="initial-loss-high",
        function=check_loss,
        stage="first batch",
        thresholds=(INITIAL_LOSS, INITIAL_LOSS_NATS),
        explains=("plateau",),
    ),
    DETECTORS["units-died"],
    DETECTORS["units-saturated"],
    Check(
        code="cannot-overfit",
        function=check_few_examples,
        stage="training",
        thresholds=(OVERFIT,),
        explains=("underfitting", "plateau"),
    ),
    Check(
        code="rate-too-low",
        function=check_learning_rate,
        stage="training",
        thresholds=(RATE_LOW, RATE_FAR),
        explains=DETECTORS["rate-too-low"].explains,
    ),
    Check(
        code="imbalance",
        function=check_labels,
        stage="labels",
        thresholds=(IMBALANCE, IMBALANCE_FROM),
    ),
    DETECTORS["overfitting"],
    DETECTORS["underfitting"],
    DETECTORS["plateau"],
)
# Cause → symptoms, of checks and detectors, for `merge`.
EXPLAINS: Final[Mapping[str, tuple[str, ...]]] = {row.code: row.explains for row in CHECKS}


def functions_of(stage: str) -> tuple[CheckFunction, ...]:
    """Returns the functions of a stage, each once, in the order of the table."""
    rows = [row for row in CHECKS if isinstance(row, Check) and row.stage == stage]
    return tuple(dict.fromkeys(row.function for row in rows))
