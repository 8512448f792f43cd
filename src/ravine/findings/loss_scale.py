"""A validation loss that is not comparable with the training loss: a sum, or a mean of old ones.

Four things tell it. The ratio of both stays, from an untrained network to a trained one, and is a
count of what was validated or trained: examples of a pass, passes, or their inverse (a small count
only where nothing else makes the losses differ: the answers are as sure in training, and right as
often as they are sure). Each validation adds to
the one before what training has. What each must have been, if all so far were averaged, is what
training has, and what was recorded is not. Or, for a mean cross-entropy, the loss lies outside of
what any labels could give on the answers that were seen.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ravine.findings.finding import Finding
from ravine.findings.loop_record import LoopRecord
from ravine.findings.run_trace import Trace

_FEWEST, _LEAST = 3, 8  # validations; and a count that tells something
_STEADY, _FAR = 0.5, 1.0  # deviation of the ratios' logarithms; and the largest of one
_EARLY = 0.35  # of the loss of knowing nothing, that the first ratio is of
_FEW_STEADY, _FEW_NEAR = 0.2, math.log(1.25)  # the same of a count below _LEAST
_LEARNS = 1.5  # times that the training loss falls, so that a ratio that stays says something
_AS_SURE, _AS_RIGHT, _DOUBTFUL = 0.08, 0.1, 3  # of probabilities; a count that needs not both
_OF_A_STEP = "passes of a step"
_NEAR = math.log(1.6)  # of a ratio from a count
_FITS, _LAGS = 0.3, 0.25  # logarithm of a ratio that is near 1; and of one that is not
_SLACK, _ROOM = 1.5, 0.1  # of a bound, as a factor and of ln K


def find_other_scale(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields a validation loss that is a multiple of what is compared with it, or cannot be.

    Args:
        record: of the monitor.
        run: the recorded losses.
    """
    count = _count(record, run)
    if count is not None:
        yield _multiple(run, *count)
    elif _summed(run) is not None:
        yield _goes_on(run)
    elif (own := _averaged(run)) is not None:
        yield _lags(run, own)
    elif _is_out_of_bounds(record, run):
        yield _impossible(record, run)


def on_one_scale(record: LoopRecord, run: Trace) -> Trace:
    """Returns a run whose validation losses are those that would be beside training's.

    NaN where they are not known.
    """
    count = _count(record, run)
    own = _summed(run) if count is None else None
    if count is None and own is None:
        own = _averaged(run)
    if own is not None:
        return replace(run, validations=own)
    if count is None and not _is_out_of_bounds(record, run):
        return run
    rows = run.validations.copy()
    rows[:, 1] = math.nan if count is None else rows[:, 1] / count[0]
    return replace(run, validations=rows)


def _count(record: LoopRecord, run: Trace) -> tuple[float, str] | None:
    """Returns the factor between both losses, and of what it is the count; None without one."""
    rows = _beside(run)
    rows = rows[np.isfinite(rows[:, [1, 3]]).all(1)] if len(rows) else rows
    if len(rows) < _FEWEST or run.least < 0 or not (rows[:, [1, 3]] > 0).all():
        return None
    logs = np.log(rows[:, 1] / rows[:, 3])
    if float(logs.std()) > _STEADY:
        return None
    few = _few(record, run, rows) if rows[0, 3] > _LEARNS * rows[-1, 3] else None
    is_early = rows[0, 3] > _EARLY * run.chance or rows[0, 3] > 2 * rows[-1, 3]
    if few is not None or not is_early:
        return few
    size, passes = record.validated
    counts = {
        "examples of a pass": float(size),
        "passes of a validation": float(passes),
        "examples of a validation": float(size * passes),
        "examples of a pass of training": float(record.trained[0]),
    }
    for name, count in counts.items():
        for factor in (count, 1 / max(count, 1)):
            if count >= _LEAST and abs(float(np.median(logs)) - math.log(factor)) < _NEAR:
                return factor, name
    return None


def _few(record: LoopRecord, run: Trace, rows: np.ndarray) -> tuple[float, str] | None:
    """Returns a factor of 2 to 7, and of what it is the count; None without one.

    Validation that is added up, or training that is divided: what is the other way round may be
    the sum of several passes on purpose.

    Args:
        record: of the monitor.
        run: the recorded losses.
        rows: validations (n, 5) with the training loss just before each.
    """
    logs = np.log(rows[:, 1] / rows[:, 3])
    counts = (  # and the loss that is as it should be then, which must begin high
        ("passes of a validation", record.validated[1], rows[0, 3]),
        (_OF_A_STEP, record.trained[1], rows[0, 1]),
    )
    for name, count, honest in counts:
        if honest < _EARLY * run.chance:
            continue
        apart = logs - math.log(max(count, 1))
        is_count = 1 < count < _LEAST and float(logs.std()) < _FEW_STEADY
        if not is_count or max(abs(float(np.median(apart))), abs(float(apart[0]))) > _FEW_NEAR:
            continue
        accuracy, sure = float(run.validations[-1, 2]), record.sure_in_validation
        is_right = accuracy > sure - _AS_RIGHT
        if is_right and abs(sure - record.sure_in_training) < _AS_SURE:
            return float(count), name
        if count >= _DOUBTFUL and (is_right or not math.isfinite(accuracy)):
            return float(count), name
    return None


def _summed(run: Trace) -> np.ndarray | None:
    """Returns validations with what each adds to the one before, where training has as much.

    None where it is not so in each of them: the losses are no sum over all validations so far.
    """
    rows = _beside(run)
    if len(rows) < _FEWEST + 1 or run.least < 0 or not np.isfinite(rows[:, [1, 3]]).all():
        return None
    own = np.diff(rows[:, 1], prepend=0.0)
    if not (own > 0).all() or not (rows[:, 3] > 0).all():
        return None
    apart = np.abs(np.log(own / rows[:, 3]))
    if float(np.median(apart)) > _NEAR or float(apart.max()) > _FAR:
        return None
    found = run.validations.copy()
    found[:, 1] = own
    return found


def _averaged(run: Trace) -> np.ndarray | None:
    """Returns validations as each was by itself, where what was recorded is their mean so far.

    k m(k) − (k − 1) m(k − 1) is near training's loss each time then, though a difference of means
    multiplies whatever else they hold by k; and the means are not, since the loss falls. None where
    it is not so.
    """
    rows = _beside(run)
    if len(rows) < _FEWEST + 2 or run.least < 0 or not np.isfinite(rows[:, [1, 3]]).all():
        return None
    order = np.arange(1, len(rows) + 1)
    own = np.diff(order[:, None] * rows[:, 1:3], axis=0, prepend=0.0)
    if not (rows[:, 3] > 0).all() or not (own[:, 0] > 0).all():
        return None
    if (own[:, 1] < -_ROOM).any() or (own[:, 1] > 1 + _ROOM).any():
        return None
    as_told, by_itself = (
        np.abs(np.log(one / rows[:, 3]))[_FEWEST:] for one in (rows[:, 1], own[:, 0])
    )
    is_near = by_itself.max() < _FITS and np.median(by_itself) < _FITS / 2
    if not is_near or np.median(as_told) < max(_LAGS, 2 * np.median(by_itself)):
        return None
    found = run.validations.copy()
    found[:, 1:3] = own
    return found


def _beside(run: Trace) -> np.ndarray:
    """Returns validations whose training loss is that of the steps just before each of them."""
    rows, before = run.validations.copy(), -math.inf
    for row in rows:
        near = run.losses[(run.steps > before) & (run.steps <= row[0])]
        near = near[-max(2, len(near) // 4) :]
        before = row[0]
        if len(near) and np.isfinite(near).all():
            row[3] = near.mean()
    return rows


def _is_out_of_bounds(record: LoopRecord, run: Trace) -> bool:
    """Returns whether no labels give the answers that were seen such a mean cross-entropy."""
    rows = run.validations
    is_seen = record.validations > record.elsewhere + record.swapped
    if run.classes is None or record.loss_bounds is None or len(rows) < _FEWEST or not is_seen:
        return False
    loss, (least, _, worst) = float(rows[-1, 1]), record.loss_bounds
    room = _ROOM * run.chance
    return loss > _SLACK * worst + room or loss < least / _SLACK - room


def _multiple(run: Trace, factor: float, name: str) -> Finding:
    rows = _beside(run)
    first, last = rows[0], rows[-1]
    return Finding(
        severity="note" if name == _OF_A_STEP else "warning",  # it is recorded so, and trains well
        code="accuracy-disagrees",
        seen=f"the validation loss is {first[1] / first[3]:.3g} times the training loss in the "
        f"first validation and {last[1] / last[3]:.3g} times in the last one: about "
        + (f"the number of {name}, {factor:.0f}" if factor > 1 else f"1 over the number of {name}"),
        cause="one of the two is a sum, or is divided by another count than the other",
        cure="add up loss · examples over the passes, and divide by all examples, in both; then "
        "they can be compared",
        evidence={"first": first[1] / first[3], "last": last[1] / last[3], "count": factor},
    )


def _goes_on(run: Trace) -> Finding:
    first, last = (float(run.validations[k, 1]) for k in (0, -1))
    return Finding(
        severity="warning",
        code="accuracy-disagrees",
        seen=f"the validation loss rises from {first:.3g} to {last:.3g}, each time by about the "
        "training loss",
        cause="the sum over a validation goes on from the one before",
        cure="set the sum, and its count, to 0 before each validation",
        evidence={"first": first, "last": last},
    )


def _lags(run: Trace, own: np.ndarray) -> Finding:
    recorded, last = float(run.validations[-1, 1]), float(own[-1, 1])
    return Finding(
        severity="warning",
        code="accuracy-disagrees",
        seen=f"the last validation loss is {recorded:.3g}; taken as the mean of all {len(own)} "
        f"validations so far, the last one by itself was {last:.3g}, and each was near the "
        "training loss",
        cause="the meters of validation are not reset, so that they average over all validations, "
        "those of the untrained network among them",
        cure="make the meters, or set sum and count to 0, before each validation",
        evidence={"told": recorded, "last": last},
    )


def _impossible(record: LoopRecord, run: Trace) -> Finding:
    assert record.loss_bounds is not None
    loss, (least, _, worst) = float(run.validations[-1, 1]), record.loss_bounds
    return Finding(
        severity="warning",
        code="accuracy-disagrees",
        seen=f"the validation loss was recorded as {loss:.3g}; with the answers that were seen "
        f"there the best labels would give {least:.3g}, and the worst {worst:.3g}",
        cause="it is a sum, is not set to 0 before each validation, is divided by another count, "
        "or is computed from something else than the network's outputs",
        cure="compute F.cross_entropy(output, labels) on one batch of validation, and compare",
        evidence={"loss": loss, "least": least, "worst": worst},
    )
