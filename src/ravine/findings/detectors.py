"""The table of detectors: which findings the rows and snapshots of a run can have.

To add one: the function in the file of its rows, a row here, its entry in `EXPLAINS` of
`checks/check_table.py`, the test, a line in docs/diagnose.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

from ravine.findings.baseline_detector import find_below_baseline
from ravine.findings.collapse_detector import find_collapse
from ravine.findings.finding import Finding
from ravine.findings.history_detectors import find_over_time
from ravine.findings.layer_detectors import find_in_snapshots
from ravine.findings.loop_detectors import find_in_loop
from ravine.findings.thresholds import (
    ACCURACY_OFF,
    AGREES,
    AT_CHANCE,
    BELOW_BASELINE,
    BEYOND_MEASURE,
    BLOWN,
    COLLAPSED,
    COLLAPSED_LOSS,
    COPIED,
    DEAD,
    DIVERGED,
    FALLS_FASTER,
    FAR_AS_IS,
    FEW_STEPS,
    FOLLOWED,
    LEARNT,
    LEFT_IN_STEPS,
    MIXED,
    NEAR_IN_VIEW,
    NOISE_WORTH,
    NOISY,
    OUTSIDE,
    OVERFIT_GAP,
    OVERFIT_RISE,
    RATE_FELL,
    RESPONDS_APART,
    RESPONDS_OTHERWISE,
    RESTING,
    RUNS_OFF,
    SATURATED,
    SEEN,
    SHIFTED,
    SHIFTED_CERTAIN,
    SNAPSHOTS,
    STAYS,
    STRETCHED,
    UNDERFIT,
)
from ravine.findings.validation_detectors import find_in_validation

# Symptoms that many causes bring about.
RUN_SYMPTOMS: Final = ("not-finite", "diverged", "plateau", "underfitting", "below-baseline")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One kind of finding over time.

    Attributes:
        code: of the finding.
        function: the detector that yields it, among others.
        thresholds: of `thresholds.py`, that it compares with.
        explains: codes of the symptoms that this cause brings about.
    """

    code: str
    function: Callable[..., Iterator[Finding]]
    thresholds: tuple[float, ...] = ()
    explains: tuple[str, ...] = ()


_RATES: Final = ("rate-too-high", "rate-too-low")
_VALIDATION: Final = ("overfitting", "norm-statistics-disagree", "validation-at-chance")
_LEARNING: Final = ("zero-gradient", "cannot-overfit", *_RATES, *RUN_SYMPTOMS)

_ROWS: Final = (
    Detector(  # beside validation by find_mirrored
        code="loss-of-wrong-sign",
        function=find_over_time,
        explains=(
            *(*_LEARNING, "initial-loss-high", "overfitting", "loss-runs-off"),
            "validation-at-chance",
        ),
    ),
    Detector(
        code="loss-runs-off",
        function=find_over_time,
        thresholds=(RUNS_OFF, FALLS_FASTER, BEYOND_MEASURE),
        explains=_LEARNING,
    ),
    Detector(
        code="softmax-twice",
        function=find_in_loop,
        explains=(
            *(*_LEARNING, "exploding-at-start", "vanishing-at-start", "initial-loss-high"),
            "activation-on-logits",
        ),
    ),
    Detector(
        code="not-in-optimizer",
        function=find_in_loop,
        explains=(*_LEARNING, "step-does-not-update", "gradients-not-cleared"),
    ),
    Detector(
        code="step-does-not-update",
        function=find_in_loop,
        explains=(*_LEARNING, "gradients-not-cleared"),
    ),
    Detector(
        code="no-gradient",
        function=find_in_loop,
        explains=(*_LEARNING, "vanishing-at-start", "step-trains-something-else"),
    ),
    Detector(  # of the first steps by find_in_loop
        code="gradients-not-cleared",
        function=find_in_snapshots,
        thresholds=(LEFT_IN_STEPS,),
        explains=(
            *("rate-too-high", "rate-too-low", *RUN_SYMPTOMS),
            *("units-died", "units-saturated", "overfitting"),
        ),
    ),
    Detector(code="optimizer-remade", function=find_in_loop, explains=_LEARNING),
    Detector(
        code="frozen-midway",
        function=find_in_loop,
        explains=("underfitting", "plateau", "rate-too-low", "below-baseline"),
    ),
    Detector(
        code="weights-changed-outside",
        function=find_in_loop,
        thresholds=(OUTSIDE,),
        explains=(*_LEARNING, *_VALIDATION),
    ),
    Detector(
        code="outputs-collapsed",
        function=find_collapse,
        thresholds=(COLLAPSED, COLLAPSED_LOSS),
        explains=(*_LEARNING, *_VALIDATION),
    ),
    Detector(
        code="eval-mode",
        function=find_in_loop,
        thresholds=(RESTING,),
        explains=(
            *(*_LEARNING, *_VALIDATION, "initial-loss-high"),
            *("exploding-at-start", "vanishing-at-start"),
        ),
    ),
    Detector(
        code="examples-mixed",
        function=find_in_loop,
        thresholds=(MIXED,),
        explains=(
            *(*_LEARNING, *_VALIDATION, "labels-unrelated", "validation-prepared-differently"),
            *("validation-labels-unrelated", "initial-loss-high"),
            *("exploding-at-start", "vanishing-at-start"),
        ),
    ),
    Detector(
        code="noisy-evaluation",
        function=find_in_loop,
        thresholds=(NOISY,),
        explains=("underfitting", "plateau", "cannot-overfit", "rate-too-low", "overfitting"),
    ),
    Detector(
        code="label-noise",
        function=find_in_validation,
        thresholds=(NOISE_WORTH,),
        explains=("overfitting", "underfitting", "plateau"),
    ),
    Detector(code="averaged-weights-lag", function=find_in_loop, explains=_VALIDATION),
    Detector(
        code="evaluated-in-training-mode",
        function=find_in_loop,
        explains=(*_VALIDATION, "underfitting"),
    ),
    Detector(
        code="validation-prepared-differently",
        function=find_in_loop,
        thresholds=(
            *(SHIFTED, STRETCHED, SHIFTED_CERTAIN, FAR_AS_IS, NEAR_IN_VIEW),
            *(RESPONDS_APART, RESPONDS_OTHERWISE),
        ),
        explains=(*_VALIDATION, "validation-labels-unrelated"),
    ),
    Detector(  # measured by find_in_loop; where there are rows alone, by find_over_time
        code="norm-statistics-disagree",
        function=find_in_loop,
        thresholds=(AGREES, FOLLOWED, STAYS),
        explains=("overfitting", "validation-at-chance"),
    ),
    Detector(
        code="validation-labels-unrelated",
        function=find_in_loop,
        explains=("overfitting", "validation-at-chance"),
    ),
    Detector(
        code="validation-in-training",
        function=find_in_validation,
        thresholds=(SEEN, COPIED),
    ),
    Detector(  # of a loss on another scale by find_other_scale
        code="accuracy-disagrees", function=find_in_validation, thresholds=(ACCURACY_OFF,)
    ),
    Detector(code="validation-at-chance", function=find_over_time, explains=("overfitting",)),
    Detector(code="not-finite", function=find_in_snapshots, explains=("diverged", "units-died")),
    Detector(
        code="diverged",
        function=find_over_time,
        thresholds=(DIVERGED, BLOWN, LEARNT, AT_CHANCE),
        explains=(
            *("units-died", "units-saturated", "plateau", "underfitting", "overfitting"),
            "below-baseline",
        ),
    ),
    Detector(
        code="units-died",
        function=find_in_snapshots,
        thresholds=(DEAD, SNAPSHOTS),
        explains=("plateau", "underfitting"),
    ),
    Detector(
        code="units-saturated",
        function=find_in_snapshots,
        thresholds=(SATURATED, SNAPSHOTS),
        explains=("plateau", "underfitting"),
    ),
    Detector(
        code="rate-too-low",
        function=find_over_time,
        thresholds=(RATE_FELL,),
        explains=("underfitting", "plateau", "below-baseline"),
    ),
    Detector(code="overfitting", function=find_over_time, thresholds=(OVERFIT_RISE, OVERFIT_GAP)),
    Detector(
        code="underfitting",
        function=find_over_time,
        thresholds=(UNDERFIT, AT_CHANCE),
        explains=("plateau",),
    ),
    Detector(code="plateau", function=find_over_time, thresholds=(AT_CHANCE, DIVERGED)),
    Detector(
        code="below-baseline",
        function=find_below_baseline,
        thresholds=(BELOW_BASELINE, FEW_STEPS),
    ),
)
# By code; the cause that is believed first above.
DETECTORS: Final[Mapping[str, Detector]] = {row.code: row for row in _ROWS}
# What `merge` takes where no check has run.
RUN_EXPLAINS: Final[Mapping[str, tuple[str, ...]]] = {row.code: row.explains for row in _ROWS}
