"""The table of checks: what each finds, with which threshold, and which symptoms it explains.

To add a check: the function in the file of its subject, a row here (of inputs in `input_table.py`,
of a loss and a network's end in `loss_table.py`, of what tells the targets in `label_table.py`),
the test, a line in docs/diagnose.md. The order is that in which causes are believed: `merge` puts
a symptom under the first cause above it that explains it. The rows of `DETECTORS` are findings
over time.
"""

from collections.abc import Mapping
from typing import Final

from ravine.checks.activations import check_symmetry, check_units, check_variances
from ravine.checks.check_kind import (
    LATER_UNITS,
    LEARNING,
    RATE,
    START,
    UNITS,
    VALIDATION,
    Check,
    CheckFunction,
)
from ravine.checks.class_weights import check_class_weights
from ravine.checks.drifting_statistics import check_drifting
from ravine.checks.embedding_loss import check_embeddings
from ravine.checks.evaluation_mode import check_evaluation
from ravine.checks.input_table import INPUT_CHECKS
from ravine.checks.inputs import check_inputs, check_scale
from ravine.checks.label_relation import check_label_relation
from ravine.checks.label_table import LABEL_CHECKS
from ravine.checks.labels import check_labels
from ravine.checks.loss_function import check_loss
from ravine.checks.loss_table import LOSS_CHECKS
from ravine.checks.norm_statistics import check_norm_statistics
from ravine.checks.parameter_groups import check_groups
from ravine.checks.parameters import check_registered, check_shared
from ravine.checks.short_trainings import check_few_examples, check_learning_rate
from ravine.checks.step_effect import check_step_effect
from ravine.checks.stored_examples import check_stored
from ravine.checks.strong_decay import check_decay
from ravine.checks.targets import check_targets
from ravine.checks.user_step import check_step
from ravine.checks.wiring import check_dropout, check_gradients, check_mode, check_optimizer
from ravine.findings import thresholds as limits
from ravine.findings.detectors import DETECTORS, RUN_SYMPTOMS, Detector

CHECKS: Final[tuple[Check | Detector, ...]] = (
    Check(
        code="inputs-not-finite",
        function=check_inputs,
        stage="before",
        explains=(*START, *UNITS, *LEARNING, "labels-unrelated", "overfitting"),
    ),
    Check(code="labels-out-of-range", function=check_labels, stage="labels", explains=LEARNING),
    *INPUT_CHECKS,
    *LOSS_CHECKS,
    Check(
        code="not-in-optimizer",
        function=check_optimizer,
        stage="state",
        explains=DETECTORS["not-in-optimizer"].explains,
    ),
    Check(
        code="step-does-not-update",
        function=check_step,
        stage="state",
        explains=DETECTORS["step-does-not-update"].explains,
    ),
    Check(
        code="step-climbs",
        function=check_step_effect,
        stage="state",
        thresholds=(limits.CLIMBS,),
        explains=(*LEARNING, *LATER_UNITS, "overfitting"),
    ),
    Check(
        code="no-gradient",
        function=check_gradients,
        stage="state",
        explains=DETECTORS["no-gradient"].explains,
    ),
    Check(  # what the data set keeps; by a step by check_step
        code="batch-changed",
        function=check_stored,
        stage="before",
        explains=(*LEARNING, *LATER_UNITS, *VALIDATION, "gradients-not-cleared"),
    ),
    Check(
        code="gradients-not-cleared",
        function=check_step,
        stage="state",
        explains=DETECTORS["gradients-not-cleared"].explains,
    ),
    Check(
        code="gradients-dropped",
        function=check_step,
        stage="state",
        explains=(*LEARNING, "updates-too-small", "step-trains-something-else"),
    ),
    Check(
        code="clipping-idle",
        function=check_step,
        stage="state",
        explains=(*LEARNING, *LATER_UNITS, "exploding-at-start"),
    ),
    Check(
        code="optimizer-remade",
        function=check_step,
        stage="state",
        explains=DETECTORS["optimizer-remade"].explains,
    ),
    Check(
        code="step-trains-something-else",
        function=check_step_effect,
        stage="state",
        thresholds=(limits.UNRELATED_STEP, limits.TOLD, limits.UNTOLD),
        explains=(*LEARNING, "overfitting", "validation-at-chance"),
    ),
    Check(
        code="updates-too-small",
        function=check_step_effect,
        stage="state",
        thresholds=(limits.GRADIENT_CUT, limits.ROUNDED_AWAY),
        explains=LEARNING,
    ),
    Check(
        code="group-rate-differs",
        function=check_groups,
        stage="state",
        thresholds=(limits.GROUP_RESTS, limits.GROUP_LEAPS, limits.DRAWN_EVENLY),
        explains=(*LEARNING, *LATER_UNITS),
    ),
    Check(
        code="gradients-not-unscaled",
        function=check_step_effect,
        stage="state",
        thresholds=(limits.GRADIENT_CUT,),
        explains=(*LEARNING, *LATER_UNITS, "overfitting"),
    ),
    DETECTORS["frozen-midway"],
    DETECTORS["weights-changed-outside"],
    Check(
        code="outputs-collapsed",
        function=check_embeddings,
        stage="state",
        explains=DETECTORS["outputs-collapsed"].explains,
    ),
    Check(  # with a step of the user's by check_step
        code="eval-mode",
        function=check_mode,
        stage="before",
        explains=DETECTORS["eval-mode"].explains,
    ),
    Check(
        code="examples-mixed",
        function=check_evaluation,
        stage="evaluation",
        thresholds=(limits.MIXED,),
        explains=DETECTORS["examples-mixed"].explains,
    ),
    Check(
        code="shared-parameters",
        function=check_shared,
        stage="first batch",
        explains=(*LEARNING, "symmetric-weights"),
    ),
    Check(  # a layer made in forward() has other weights in each pass
        code="parameters-not-registered",
        function=check_registered,
        stage="state",
        explains=(
            *("noisy-evaluation", "underfitting", "plateau", "cannot-overfit", "rate-too-low"),
            "validation-at-chance",
        ),
    ),
    Check(
        code="noisy-evaluation",
        function=check_evaluation,
        stage="evaluation",
        thresholds=(limits.NOISY,),
        explains=DETECTORS["noisy-evaluation"].explains,
    ),
    Check(
        code="loss-ignores-examples",
        function=check_class_weights,
        stage="first batch",
        thresholds=(limits.WEIGHED_APART,),
        explains=("underfitting", "plateau", "cannot-overfit", *VALIDATION),
    ),
    Check(
        code="targets-uninformative",
        function=check_targets,
        stage="first batch",
        thresholds=(limits.UNINFORMATIVE,),
        explains=LEARNING,
    ),
    Check(
        code="targets-not-scaled",
        function=check_targets,
        stage="first batch",
        thresholds=(limits.LARGE_TARGETS, limits.OUT_OF_RANGE),
        explains=(*LEARNING, *START, "overfitting", "task-drowned"),
    ),
    *LABEL_CHECKS,
    Check(
        code="inputs-not-scaled",
        function=check_scale,
        stage="first batch",
        thresholds=(
            limits.SMALL_INPUTS,
            limits.LARGE_INPUTS,
            limits.FLAT_INPUTS,
            limits.SAME_OUTPUTS,
        ),
        explains=(*START, *UNITS, *LEARNING, "overfitting", "labels-undecided"),
    ),
    Check(
        code="symmetric-weights",
        function=check_symmetry,
        stage="before",
        explains=(*START, *UNITS, *LEARNING),
    ),
    Check(
        code="dead-units",
        function=check_units,
        stage="first batch",
        thresholds=(limits.DEAD, limits.FEW_UNITS, limits.FADED),
        explains=(*LEARNING, *START, "units-died"),
    ),
    Check(
        code="saturated-units",
        function=check_units,
        stage="first batch",
        thresholds=(limits.SATURATED,),
        explains=(*START, *LEARNING, "units-saturated", "overfitting"),
    ),
    Check(
        code="dropout-too-strong",
        function=check_dropout,
        stage="before",
        thresholds=(limits.STRONG_DROPOUT,),
        explains=(
            *(*START, "underfitting", "plateau", "rate-too-low", "cannot-overfit"),
            "dropout-on-logits",
        ),
    ),
    Check(
        code="dropout-on-logits",
        function=check_targets,
        stage="first batch",
        explains=("underfitting", "plateau", "cannot-overfit", "rate-too-low"),
    ),
    Check(
        code="exploding-at-start",
        function=check_variances,
        stage="first batch",
        thresholds=(limits.EXPLODING, limits.LARGE_LOGITS),
        explains=(*LEARNING, *LATER_UNITS, "initial-loss-high", "overfitting"),
    ),
    Check(
        code="vanishing-at-start",
        function=check_variances,
        stage="first batch",
        thresholds=(limits.VANISHING, limits.UNSEEN, limits.UNSEEN_TELLS),
        explains=(*LEARNING, *LATER_UNITS),
    ),
    Check(
        code="not-shuffled",
        function=check_labels,
        stage="labels",
        thresholds=(limits.UNSHUFFLED,),
        explains=(*RATE, *RUN_SYMPTOMS, "norm-statistics-disagree", "overfitting", "imbalance"),
    ),
    Check(
        code="zero-gradient",
        function=check_few_examples,
        stage="training",
        explains=("cannot-overfit", "plateau", "underfitting"),
    ),
    Check(
        code="decay-too-strong",  # in a step of the user's by check_step_effect
        function=check_decay,
        stage="first batch",
        thresholds=(limits.STRONG_DECAY, limits.PENALTY),
        explains=("underfitting", "plateau", *RATE, "cannot-overfit", "initial-loss-high"),
    ),
    Check(
        code="rate-too-high",
        function=check_learning_rate,
        stage="training",
        thresholds=(
            *(limits.RATE_HIGH, limits.RATE_NEAR),
            *(limits.RATE_DOUBTFUL, limits.RATE_KEEPS_UP),
        ),
        explains=(*LATER_UNITS, *RUN_SYMPTOMS, "overfitting"),
    ),
    Check(
        code="frozen-statistics-drift",
        function=check_drifting,
        stage="state",
        thresholds=(limits.SAME_STATISTICS,),
        explains=("norm-statistics-disagree", "underfitting", "overfitting", "plateau"),
    ),
    Check(
        code="label-noise",
        function=check_label_relation,
        stage="labels probe",
        thresholds=(limits.LABEL_NOISE, limits.NOISE_WORTH),
        explains=DETECTORS["label-noise"].explains,
    ),
    Check(
        code="imbalance",
        function=check_labels,
        stage="labels",
        thresholds=(limits.IMBALANCE, limits.IMBALANCE_FROM),
        explains=("validation-prepared-differently",),  # the mixture of the classes is another
    ),
    DETECTORS["averaged-weights-lag"],
    DETECTORS["evaluated-in-training-mode"],
    DETECTORS["validation-prepared-differently"],
    Check(
        code="norm-statistics-disagree",
        function=check_norm_statistics,
        stage="state",
        thresholds=(
            *(limits.NORM_LOSS, limits.NORM_LOSS_NATS),
            *(limits.OTHER_FORM, limits.OTHER_FORM_LEFT),
        ),
        explains=DETECTORS["norm-statistics-disagree"].explains,
    ),
    DETECTORS["validation-labels-unrelated"],
    DETECTORS["validation-in-training"],
    DETECTORS["accuracy-disagrees"],
    DETECTORS["validation-at-chance"],
    Check(
        code="not-finite",
        function=check_step,
        stage="state",
        explains=DETECTORS["not-finite"].explains,
    ),
    DETECTORS["diverged"],
    Check(
        code="initial-loss-high",
        function=check_loss,
        stage="first batch",
        thresholds=(limits.INITIAL_LOSS, limits.INITIAL_LOSS_NATS),
        explains=("plateau",),
    ),
    DETECTORS["units-died"],
    DETECTORS["units-saturated"],
    Check(
        code="cannot-overfit",
        function=check_few_examples,
        stage="training",
        thresholds=(limits.OVERFIT,),
        explains=("underfitting", "plateau"),
    ),
    Check(
        code="rate-too-low",
        function=check_learning_rate,
        stage="training",
        thresholds=(limits.RATE_LOW, limits.RATE_FAR, limits.RATE_MOVES),
        explains=DETECTORS["rate-too-low"].explains,
    ),
    Check(code="optimizer-unseen", function=check_step, stage="state"),
    Check(
        code="labels-undecided",
        function=check_label_relation,
        stage="labels probe",
        thresholds=(limits.FEW_LABELS, limits.FEW_PER_CLASS),
    ),
    DETECTORS["overfitting"],
    DETECTORS["underfitting"],
    DETECTORS["plateau"],
    DETECTORS["below-baseline"],
)
# Cause → symptoms, of checks and detectors, for `merge`.
EXPLAINS: Final[Mapping[str, tuple[str, ...]]] = {row.code: row.explains for row in CHECKS}


def functions_of(stage: str) -> tuple[CheckFunction, ...]:
    """Returns the functions of a stage, each once, in the order of the table."""
    rows = [row for row in CHECKS if isinstance(row, Check) and row.stage == stage]
    return tuple(dict.fromkeys(row.function for row in rows))
