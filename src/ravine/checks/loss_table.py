"""The rows of `check_table.py` about a network's end and the loss that takes its outputs."""

from typing import Final

from ravine.checks.check_kind import LEARNING, START, UNITS, VALIDATION, Check
from ravine.checks.exponential_loss import check_exponential
from ravine.checks.linearity import check_linearity
from ravine.checks.logits_limit import check_logits
from ravine.checks.loss_function import check_loss
from ravine.checks.target_form import check_target_form
from ravine.checks.targets import check_targets
from ravine.findings import thresholds as limits
from ravine.findings.detectors import DETECTORS

LOSS_CHECKS: Final = (
    Check(
        code="loss-unbounded",
        function=check_target_form,
        stage="first batch",
        explains=(*LEARNING, "loss-of-wrong-sign", "loss-runs-off"),
    ),
    Check(
        code="loss-of-wrong-sign",
        function=check_loss,
        stage="first batch",
        explains=DETECTORS["loss-of-wrong-sign"].explains,
    ),
    DETECTORS["loss-runs-off"],
    Check(
        code="loss-grows-exponentially",
        function=check_exponential,
        stage="first batch",
        thresholds=(limits.GROWS_BY,),
        explains=(*LEARNING, *START, "initial-loss-high", "accuracy-disagrees"),
    ),
    Check(
        code="softmax-twice",
        function=check_loss,
        stage="first batch",
        explains=DETECTORS["softmax-twice"].explains,
    ),
    Check(
        code="sigmoid-twice",
        function=check_targets,
        stage="first batch",
        explains=(*LEARNING, *START, "activation-on-logits"),
    ),
    Check(
        code="targets-broadcast",
        function=check_targets,
        stage="first batch",
        explains=(*LEARNING, *START, "overfitting", "task-drowned"),
    ),
    Check(
        code="loss-expects-log-probabilities",
        function=check_loss,
        stage="first batch",
        explains=(*LEARNING, *START, "overfitting"),
    ),
    Check(
        code="activation-on-logits",
        function=check_loss,
        stage="first batch",
        explains=(*LEARNING, *UNITS, "initial-loss-high", "targets-not-scaled"),
    ),
    Check(
        code="network-is-linear",
        function=check_linearity,
        stage="first batch",
        explains=(*LEARNING, "labels-unrelated", "labels-undecided"),
    ),
    Check(
        code="outputs-scrambled",
        function=check_loss,
        stage="first batch",
        explains=(*LEARNING, *VALIDATION),
    ),
    Check(
        code="logits-limited",
        function=check_logits,
        stage="first batch",
        thresholds=(limits.LIMITED, limits.FAR_LOGITS),
        explains=(
            *(one for one in LEARNING if one != "zero-gradient"),  # small logits have a gradient
            "targets-uninformative",
        ),
    ),
)
