"""The rows of `check_table.py` about inputs: what they are, and whether they are read."""

from typing import Final

from ravine.checks.check_kind import LEARNING, START, UNITS, VALIDATION, Check
from ravine.checks.ignored_inputs import check_ignored
from ravine.checks.inputs import check_inputs
from ravine.findings import thresholds as limits

INPUT_CHECKS: Final = (
    Check(
        code="inputs-scrambled",
        function=check_inputs,
        stage="before",
        thresholds=(limits.SCRAMBLED,),
        explains=(*LEARNING, "overfitting", "label-noise", "labels-undecided"),
    ),
    Check(
        code="batches-repeat",
        function=check_inputs,
        stage="before",
        explains=(*VALIDATION, "labels-undecided", "imbalance", "label-noise", *LEARNING),
    ),
    Check(
        code="inputs-alike",
        function=check_inputs,
        stage="before",
        explains=(*START, *UNITS, *LEARNING, "labels-unrelated", "not-shuffled"),
    ),
    Check(
        code="inputs-ignored",
        function=check_ignored,
        stage="evaluation",
        thresholds=(limits.IGNORED, limits.PADDING_READ),
        explains=(
            *(*LEARNING, *START, "labels-unrelated", "labels-undecided"),
            *("logits-limited", "order-ignored", "inputs-not-scaled"),
        ),
    ),
)
