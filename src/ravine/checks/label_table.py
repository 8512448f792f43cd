"""The rows of `check_table.py` about targets, and about inputs that hold them."""

from typing import Final

from ravine.checks.check_kind import LEARNING, RATE, START, VALIDATION, Check
from ravine.checks.frozen_weights import check_frozen
from ravine.checks.label_relation import check_label_relation
from ravine.checks.position_order import check_order
from ravine.checks.target_leak import check_target_leak
from ravine.checks.target_parts import check_target_parts
from ravine.checks.task_balance import check_balance
from ravine.checks.trained_teacher import check_teacher
from ravine.findings import thresholds as limits
from ravine.findings.detectors import RUN_SYMPTOMS

LABEL_CHECKS: Final = (
    Check(  # in a part of a picture by check_label_relation
        code="label-in-input",
        function=check_target_leak,
        stage="evaluation",
        thresholds=(
            *(limits.SHORTCUT, limits.SHORTCUT_BESIDE),
            *(limits.NEXT_IN_INPUT, limits.COLUMN_TELLS, limits.VALUES_TOLD),
            *(limits.OWN_LABEL, limits.OWN_LABEL_CERTAIN),
        ),
        explains=(*VALIDATION, "label-noise"),
    ),
    Check(
        code="targets-contradict",
        function=check_target_parts,
        stage="first batch",
        thresholds=(limits.RENUMBERED, limits.RENUMBERED_BESIDE),
        explains=(*LEARNING, *VALIDATION, "label-noise"),
    ),
    Check(
        code="order-ignored",
        function=check_order,
        stage="evaluation",
        thresholds=(limits.ORDER_TELLS,),
        explains=(*LEARNING, "labels-unrelated", "overfitting", "validation-at-chance"),
    ),
    Check(
        code="task-drowned",
        function=check_balance,
        stage="state",
        thresholds=(limits.DROWNED, limits.DROWNS, limits.DROWNED_GAIN),
        explains=(*LEARNING, *START),
    ),
    Check(
        code="teacher-trained",  # in training mode inside the step by find_teacher_at_work
        function=check_teacher,
        stage="evaluation",
        thresholds=(limits.TEACHER_NOISE,),
        explains=(*LEARNING, *VALIDATION),
    ),
    Check(
        code="frozen-at-random",
        function=check_frozen,
        stage="state",
        thresholds=(limits.DRAWN_EVENLY,),
        explains=("underfitting", "plateau", "cannot-overfit", *RATE, "labels-unrelated"),
    ),
    Check(
        code="labels-unrelated",  # on inputs of a scale that fits
        function=check_label_relation,
        stage="labels probe",
        thresholds=(limits.LABELS_RELATED, limits.EXCHANGED, limits.MASK_LEFT),
        explains=("label-noise", *RATE, *RUN_SYMPTOMS, "overfitting", "validation-at-chance"),
    ),
)
