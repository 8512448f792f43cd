"""Detectors over what a monitor saw of the loop: optimizers, modes, weights, and validation."""

import math
from collections.abc import Iterator

import numpy as np

from ravine.findings.finding import Finding
from ravine.findings.history_detectors import at_chance, is_at_chance
from ravine.findings.loop_record import InputShift, LoopRecord
from ravine.findings.run_trace import Trace
from ravine.findings.thresholds import (
    AGREES,
    AT_CHANCE,
    NOISY,
    OUTSIDE,
    RESTING,
    SHIFTED,
    SHIFTED_CERTAIN,
    STRETCHED,
)

_FEWEST = 8  # recorded losses
_LEFT_OUT = 0.05  # weights that no optimizer holds, over those that one does
_UNDONE, _OFTEN = 0.3, 64  # share of updates that is undone, and changes that are kept
_LEARNT = 0.6  # of the loss of knowing nothing, below which training has learnt
_REVERSED = -0.5  # correlation of mean examples
_ELSEWHERE, _BESIDE_HALVES = 0.15, 5.0  # 1 − correlation, and over that of the halves of training
_COLD = 0.05  # of the planned learning rate
_BEHIND = 2.0  # times the training loss, beyond which validation is far behind
_WORSE = 1.3  # times the training loss, from which on validation is worse


def find_in_loop(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields what is wrong with the loop.

    Args:
        record: of the monitor.
        run: the recorded losses.
    """
    yield from _not_held(record)
    yield from _optimizer(record)
    yield from _never_warm(record, run)
    yield from _mode(record)
    yield from _outside(record, run)
    if record.noise > NOISY:
        yield _noisy(record.noise)
    yield from _validation(record, run)


def _not_held(record: LoopRecord) -> Iterator[Finding]:
    """Yields weights that learn and that no optimizer holds: all of them, or some."""
    if record.losses < _FEWEST:
        return
    if record.is_foreign and not record.other_steps:
        yield Finding(
            severity="critical",
            code="not-in-optimizer",
            seen="the watched optimizer holds no parameter of this model, and no other steps",
            cause="it was made for another model, or before this one was made",
            cure="make the optimizer from model.parameters() after the model is whole",
            evidence={"losses": float(record.losses)},
        )
        return
    numbers, held = record.left_out
    if record.steps >= _FEWEST and numbers > _LEFT_OUT * held:
        yield Finding(
            severity="warning",
            code="not-in-optimizer",
            seen=f"{numbers} weights get gradients and no step; the optimizer held {held}",
            cause="layers were made, replaced or unfrozen after the optimizer was made",
            cure="make the optimizer from model.parameters() after that, or call "
            "optimizer.add_param_group; freeze what shall not learn with requires_grad_(False)",
            evidence={"left_out": float(numbers), "held": float(held)},
        )


def _optimizer(record: LoopRecord) -> Iterator[Finding]:
    if record.losses < _FEWEST or record.steps or record.is_foreign:
        return
    if record.other_optimizers > 2:
        yield Finding(
            severity="warning",
            code="optimizer-remade",
            seen=f"the watched optimizer never steps; {record.other_optimizers} others step "
            f"{record.other_steps} times on the same weights",
            cause="the optimizer is constructed inside the loop, so that its momentum and averages "
            "begin at 0 each time",
            cure="make the optimizer once, before the loop over batches",
            evidence={"optimizers": float(record.other_optimizers)},
        )
    elif not record.other_steps:
        yield Finding(
            severity="critical",
            code="step-does-not-update",
            seen=f"{record.losses} losses were recorded, and the optimizer never stepped",
            cause="optimizer.step() is missing, a condition around it is never true, or it is "
            "called on a wrapper that does not pass it on",
            cure="call optimizer.step() after loss.backward()",
            evidence={"losses": float(record.losses)},
        )


def _never_warm(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields a schedule that leaves the run at next to nothing of its planned learning rate."""
    known = run.rates[np.isfinite(run.rates)]
    if record.planned <= 0 or len(known) < _FEWEST:
        return
    if known.max() < _COLD * record.planned and _learns_nothing(run):
        rises = known[-1] >= known.max()
        yield Finding(
            severity="warning",
            code="rate-too-low",
            seen=f"the learning rate has risen to {known.max():.2g} in {record.steps} steps, and "
            f"{record.planned:.2g} is what the schedule multiplies; the loss has not fallen",
            cause="the warm-up is longer than the training: its steps are counted in another unit"
            if rises
            else "what the schedule multiplies with is no factor near 1: LambdaLR's function is to "
            "return the share of the learning rate, and not the rate itself",
            cure="let the warm-up take a twentieth of all steps"
            if rises
            else "return factors that reach 1 (rate / base rate)",
            evidence={"reached": float(known.max()), "planned": record.planned},
        )


def _mode(record: LoopRecord) -> Iterator[Finding]:
    if record.calls < _FEWEST or record.resting_calls < RESTING * record.calls:
        return
    yield Finding(
        severity="critical",
        code="eval-mode",
        seen=f"{record.resting_calls} of {record.calls} training passes ran in evaluation mode"
        + (f", all from step {record.resting_from} on" if record.resting_from else ""),
        cause="model.eval() was called, for a validation or for good, and model.train() not after "
        "it",
        cure="call model.train() before every epoch, and after every validation",
        step=record.resting_from,
        evidence={"calls": float(record.calls), "resting": float(record.resting_calls)},
    )


def _outside(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields weights that something else than the optimizer changes much."""
    large = [one for one in record.outside if one.relative > OUTSIDE and one.step > 0]
    undone = [one for one in record.outside if one.of_update > _UNDONE]
    is_undone = len(undone) > 0.5 * min(record.steps, _OFTEN) and _learns_nothing(run)
    is_sudden = len(large) > 1 or _rises_after(run, [one.step for one in large])
    if not (large and is_sudden) and not is_undone:
        return
    later = large if large and is_sudden else undone
    yield Finding(
        severity="warning",
        code="weights-changed-outside",
        seen=f"{len(later)} times the weights changed between two steps without the optimizer, by "
        f"up to {max(one.relative for one in later):.0%} of their norm, first after step "
        f"{later[0].step}",
        cause="averaged weights are copied in and not taken out again, a checkpoint of the average "
        "is loaded to train on, weights are clamped, or drawn anew in the loop",
        cure="keep the weights that train apart from averaged ones; save and load both",
        step=later[0].step,
        evidence={"times": float(len(later)), "largest": max(one.relative for one in later)},
    )


def _learns_nothing(run: Trace) -> bool:
    """Returns whether the training loss stays near that of knowing nothing."""
    last = run.losses[-max(4, len(run.losses) // 4) :]
    return bool(len(last) and np.nanmean(last) > AT_CHANCE * run.chance)


def _rises_after(run: Trace, steps: list[int]) -> bool:
    """Returns whether the training loss is clearly higher after the first of the steps."""
    if not steps or not len(run.steps):
        return False
    before, after = (
        run.losses[(run.steps <= steps[0])][-8:],
        run.losses[(run.steps > steps[0])][:8],
    )
    if len(before) < 4 or len(after) < 4:
        return False
    spread = float(np.nanstd(before) + np.nanstd(after)) / math.sqrt(8)
    return float(np.nanmean(after) - np.nanmean(before)) > max(4 * spread, 0.05 * run.chance)


def _noisy(noise: float) -> Finding:
    return Finding(
        severity="warning",
        code="noisy-evaluation",
        seen=f"in evaluation mode two passes of the same batch differ by {noise:.2g} of the "
        "output's standard deviation",
        cause="dropout or noise stays on: F.dropout without training=self.training, or a random "
        "layer that does not ask for the mode",
        cure="write F.dropout(x, p, training=self.training), or take nn.Dropout",
        evidence={"noise": noise},
    )


def _validation(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields why validation is worse than training, by what was seen of both."""
    if record.validations and record.in_training_mode == record.validations:
        yield _in_training_mode(record)
    rows = run.validations
    rows = rows[np.isfinite(rows[:, 1]) & np.isfinite(rows[:, 3])] if len(rows) else rows
    if len(rows) < 2:
        return
    loss, accuracy, train = rows[-1][[1, 2, 3]]
    is_worse = loss > _WORSE * train + 0.02 * run.chance
    if is_worse and record.shift is not None and is_shifted(record.shift):
        yield _prepared_differently(record.shift, float(train), float(loss))
        return
    if not is_worse or train > _LEARNT * run.chance:
        return
    others = record.elsewhere + record.swapped
    is_seen = record.calls > 0  # else the loop calls another module around the same weights
    if record.validations and others == record.validations and is_seen and _lags(rows, run, train):
        yield _lagging(record, float(train), float(loss))
    elif record.modes_agree < AGREES and loss > _BEHIND * train:
        yield _statistics_lag(record, float(train), float(loss))
    elif is_at_chance(rows, run):
        yield from _at_chance(record, float(train), float(loss), float(accuracy))


def is_shifted(shift: InputShift) -> bool:
    """Returns whether inputs of validation are prepared otherwise than those of training."""
    (mean, std), (other_mean, other_std) = shift.trained, shift.validated
    stretched = abs(math.log(max(other_std, 1e-12) / max(std, 1e-12))) > math.log(STRETCHED)
    moved = abs(other_mean - mean) > SHIFTED * max(std, 1e-12)
    certain = shift.deviations > SHIFTED_CERTAIN
    apart = 1 - shift.correlation > max(_ELSEWHERE, _BESIDE_HALVES * (1 - shift.halves))
    return (certain and (stretched or moved)) or apart or shift.correlation < _REVERSED


def _lags(rows: np.ndarray, run: Trace, train: float) -> bool:
    """Returns whether validation is far behind training, and was never better than it is now."""
    never = rows[1:, 1].min() > 0.8 * run.chance
    comes = rows[-1, 1] <= 1.02 * rows[:, 1].min() and rows[-1, 1] > 0.4 * run.chance
    return bool(rows[-1, 1] > _BEHIND * train and (never or comes))


def _in_training_mode(record: LoopRecord) -> Finding:
    return Finding(
        severity="warning",
        code="evaluated-in-training-mode",
        seen=f"all {record.validations} validations ran in training mode",
        cause="model.eval() is missing: dropout stays on, and batch norm takes the statistics of "
        "the batch and moves its running ones to the held-out images",
        cure="call model.eval() before validation and export, and model.train() after it",
        evidence={"validations": float(record.validations)},
    )


def _prepared_differently(shift: InputShift, train: float, loss: float) -> Finding:
    (mean, std), (other_mean, other_std) = shift.trained, shift.validated
    return Finding(
        severity="warning",
        code="validation-prepared-differently",
        seen=f"inputs of training have mean {mean:.3g} and standard deviation {std:.3g}, those of "
        f"validation {other_mean:.3g} and {other_std:.3g} (correlation of the mean examples "
        f"{shift.correlation:.2f}); the loss is {train:.3g} in training and {loss:.3g} in "
        "validation",
        cause="one of the two is scaled, normalised, cut, turned or augmented otherwise, or shows "
        "other things",
        cure="take the same preparation for both; print minimum, mean and maximum of a batch of "
        "each",
        evidence={
            "training": train,
            "validation": loss,
            "mean": mean,
            "std": std,
            "other_mean": other_mean,
            "other_std": other_std,
        },
    )


def _lagging(record: LoopRecord, train: float, loss: float) -> Finding:
    return Finding(
        severity="warning",
        code="averaged-weights-lag",
        seen=f"validation ({loss:.3g}) is far behind training ({train:.3g}), and in all "
        f"{record.validations} validations another network or other weights were evaluated than "
        "those that train",
        cause="an average of the weights is evaluated that still holds the first weights: too few "
        "steps for its decay, it was made before trained weights were loaded, or its batch norms "
        "keep statistics of the start",
        cure="correct the average for its start (decay min(d, (1 + k)/(10 + k))), make it after "
        "weights are loaded, take its statistics along (AveragedModel(use_buffers=True), or "
        "update_bn), and evaluate the weights themselves too",
        evidence={"training": train, "validation": loss},
    )


def _statistics_lag(record: LoopRecord, train: float, loss: float) -> Finding:
    return Finding(
        severity="warning",
        code="norm-statistics-disagree",
        seen=f"on one batch of training {record.modes_agree:.0%} of answers are the same in "
        f"training and evaluation mode; the loss is {train:.3g}, in validation {loss:.3g}",
        cause="batch norm's running mean and variance do not follow the weights (a small "
        "momentum, few steps, a high learning rate)",
        cure="leave momentum at 0.1, or measure the statistics anew by a pass over training "
        "images in training mode without gradient",
        evidence={"training": train, "validation": loss, "agree": record.modes_agree},
        changes={"norm_statistics": "measured"},
    )


def _at_chance(record: LoopRecord, train: float, loss: float, accuracy: float) -> Iterator[Finding]:
    """Yields what validation at chance comes from, where training has learnt."""
    evidence = {"training": train, "validation": loss, "accuracy": accuracy}
    if record.sure_in_validation > 0.8 * record.sure_in_training:
        yield Finding(
            severity="warning",
            code="validation-labels-unrelated",
            seen=f"validation never was better than knowing nothing ({loss:.3g}, training "
            f"{train:.3g}), while the network is as sure of its answers there "
            f"({record.sure_in_validation:.2f}) as in training ({record.sure_in_training:.2f})",
            cause="the labels of validation do not belong to its images: another order, another "
            "numbering of the classes, or all the same; or those of training do not",
            cure="print a few validation images with their labels; take one table of classes for "
            "both",
            evidence={**evidence, "sure": record.sure_in_validation},
        )
    else:
        yield at_chance(evidence)
