"""Detectors of a validation that is behind training: modes, inputs, copies, statistics, labels."""

import math
from collections.abc import Iterator

import numpy as np

from ravine.findings.finding import Finding
from ravine.findings.history_detectors import at_chance, is_at_chance
from ravine.findings.loop_record import BetterView, InputShift, LoopRecord, ResponseShift
from ravine.findings.other_labels import have_other_labels, other_labels
from ravine.findings.run_trace import Trace
from ravine.findings.thresholds import (
    AGREES,
    AT_CHANCE,
    FAR_AS_IS,
    FOLLOWED,
    NEAR_EFFECT,
    NEAR_IN_VIEW,
    NORMS_AGREE,
    RESPONDS_APART,
    RESPONDS_OTHERWISE,
    SHIFTED,
    SHIFTED_CERTAIN,
    STAYS,
    STRETCHED,
)

_LEARNT = 0.6  # of the loss of knowing nothing, below which training has learnt
# Validation loss and training loss, over that of knowing nothing: surely wrong, and begun to learn.
_WRONG, _BEGUN = 1.5, 0.8
_REVERSED = -0.5  # correlation of mean examples
_ELSEWHERE, _BESIDE_HALVES = 0.15, 5.0  # 1 − correlation, and over that of the halves of training
_BEHIND = 2.0  # times the training loss, beyond which validation is far behind
_FAR, _NEARER = 0.3, 0.6  # deviations of the outputs; and the share of them that is left
_ALTOGETHER = 4.0  # times the deviation of the other
_RASH = 0.15  # of ln K, between the loss and the entropy of the answers
_SLACK = 1.5  # of a bound
_WORSE = 1.3  # times the training loss, from which on validation is worse


def find_behind(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields why validation is worse than training, by what was seen of both.

    Args:
        record: of the monitor.
        run: the recorded losses.
    """
    if record.validations and record.in_training_mode == record.validations:
        yield _in_training_mode(record)
    rows = _known_validations(run)
    if len(rows) < 2:
        return
    if _is_on_the_way(record):
        yield _on_the_way(record)
        return
    loss, accuracy, train = map(float, rows[-1][[1, 2, 3]])
    is_worse = is_behind(run) or _is_lost(record.shift, run, loss, train)
    found = _by_inputs(record, train, loss, is_worse=is_worse)
    if found is not None:
        yield found
        return
    is_wrong = loss > _WRONG * run.chance and train < _BEGUN * run.chance
    if not is_worse or not (train <= _LEARNT * run.chance or is_wrong):
        return
    others = record.elsewhere + record.swapped
    is_seen = record.calls > 0  # else the loop calls another module around the same weights
    if is_seen and _has_other_statistics(record):
        yield _copy_without_statistics(record, train, loss)
    elif (
        record.validations and others == record.validations and is_seen and _lags(rows, run, train)
    ):
        yield _lagging(record, train, loss)
    elif record.modes_agree < AGREES and loss > _BEHIND * train:
        yield _statistics_lag(record, train, loss)
    elif is_at_chance(rows, run) and _may_be_of_labels(record, run, train):
        yield from _at_chance(record, train, loss, accuracy)
    elif have_other_labels(record, run, train, loss):
        yield other_labels(record, train, loss)


def _by_inputs(record: LoopRecord, train: float, loss: float, *, is_worse: bool) -> Finding | None:
    """Returns what tells inputs of validation, or of norms' statistics, from those of training.

    Args:
        record: of the monitor.
        train: last training loss.
        loss: last validation loss.
        is_worse: validation is clearly behind training.
    """
    shift, view, response = record.shift, record.view, record.response
    if (is_worse or train > _WORSE * loss) and _has_resting_statistics(record):
        return _statistics_lag(record, train, loss)
    # Where equal answers look alike to the network, it is the mixture of the classes that differs.
    is_alike = response is not None and _are_near(response)
    if is_worse and shift is not None and is_shifted(shift) and not is_alike:
        return _prepared_differently(shift, train, loss)
    if is_worse and view is not None and is_another_view(view) and not is_alike:
        return _in_another_view(view, train, loss)
    is_far = is_worse and loss > _BEHIND * train
    if is_far and response is not None and responds_apart(response):
        return _responds_otherwise(response, train, loss)
    return _mixed_statistics(record, loss) if _is_of_other_inputs(record, loss) else None


def _has_resting_statistics(record: LoopRecord) -> bool:
    """Returns whether batch norms answer otherwise in evaluation mode even on what they train on.

    Inputs of a training pass and of validation may differ then: a pass that holds examples of one
    kind is what makes its statistics others than the running ones.
    """
    others = record.elsewhere + record.swapped
    return record.own_norms_agree < AGREES and record.validations > others


def _are_near(response: ResponseShift) -> bool:
    """Returns whether a network responds to validation as to training, among equal answers.

    Rare classes blur this a little: what is answered so is something else there more often.
    """
    is_small = response.effect < NEAR_EFFECT and response.distance < 2 * FAR_AS_IS
    return response.distance < FAR_AS_IS or is_small


def responds_apart(response: ResponseShift) -> bool:
    """Returns whether a network responds otherwise to validation, whatever it answers."""
    return response.distance > RESPONDS_APART and response.effect > RESPONDS_OTHERWISE


def _is_on_the_way(record: LoopRecord) -> bool:
    """Returns whether running statistics have not come far, and answers are others by it."""
    others = record.elsewhere + record.swapped
    agree = record.modes_agree if math.isnan(record.norms_agree) else record.norms_agree
    return record.followed < FOLLOWED and agree < STAYS and record.validations > others


def _is_of_other_inputs(record: LoopRecord, loss: float) -> bool:
    """Returns whether running statistics are of something else than what is validated.

    Many answers are others with the statistics of the batch, and those with the running ones are
    far less often right than the network is sure of them, or far less sure. No loss of training is
    needed, which may have terms of its own.
    """
    if record.classes is None or record.validations == record.elsewhere + record.swapped:
        return False
    slack, doubt = _RASH * math.log(record.classes), record.doubt_in_validation
    is_worse = loss > doubt + slack or doubt > record.doubt_by_batch + slack
    return record.norms_agree < NORMS_AGREE and is_worse and record.in_training_mode == 0


def _is_lost(shift: InputShift | None, run: Trace, loss: float, train: float) -> bool:
    """Returns whether nothing is learnt, and inputs of training are of another size altogether.

    Noise in the wrong unit leaves nothing to learn, so that validation is no worse than training.
    """
    if shift is None or min(loss, train) < AT_CHANCE * run.chance:
        return False
    ratio = max(shift.validated[1], 1e-12) / max(shift.trained[1], 1e-12)
    return shift.deviations > SHIFTED_CERTAIN and abs(math.log(ratio)) > math.log(_ALTOGETHER)


def is_shifted(shift: InputShift) -> bool:
    """Returns whether inputs of validation are prepared otherwise than those of training."""
    (mean, std), (other_mean, other_std) = shift.trained, shift.validated
    stretched = abs(math.log(max(other_std, 1e-12) / max(std, 1e-12))) > math.log(STRETCHED)
    moved = abs(other_mean - mean) > SHIFTED * max(std, 1e-12)
    certain = shift.deviations > SHIFTED_CERTAIN
    apart = 1 - shift.correlation > max(_ELSEWHERE, _BESIDE_HALVES * (1 - shift.halves))
    is_moved = (certain and (stretched or moved)) or shift.evened
    return is_moved or apart or shift.correlation < _REVERSED


def _has_other_statistics(record: LoopRecord) -> bool:
    """Returns whether a copy of the network is near to it but for its norm statistics."""
    own, of_batch = record.copy_differs or (0.0, 0.0)
    return own > _FAR and of_batch < _NEARER * own


def _known_validations(run: Trace) -> np.ndarray:
    rows = run.validations
    return rows[np.isfinite(rows[:, 1]) & np.isfinite(rows[:, 3])] if len(rows) else rows


def is_behind(run: Trace) -> bool:
    """Returns whether the last validation loss is clearly above the training loss."""
    rows = _known_validations(run)
    if len(rows) < 2:
        return False
    loss, train = rows[-1][[1, 3]]
    return bool(loss > _WORSE * train + 0.02 * run.chance)


def is_another_view(view: BetterView) -> bool:
    """Returns whether images of validation are like those of training in another view alone."""
    return view.as_is > FAR_AS_IS and view.nearest < NEAR_IN_VIEW * view.as_is


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


def _in_another_view(view: BetterView, train: float, loss: float) -> Finding:
    return Finding(
        severity="warning",
        code="validation-prepared-differently",
        seen=f"the network responds to images of validation as to those of training when they are "
        f"seen {view.name} (distance {view.nearest:.2g}, as they are {view.as_is:.2g}); the loss "
        f"is {train:.3g} in training and {loss:.3g} in validation",
        cause="one of the two is read or prepared otherwise: another order of channels or axes, "
        "turned, mirrored, or cut",
        cure="read both by one function; show an image of each beside the other",
        evidence={
            "training": train,
            "validation": loss,
            "as_is": view.as_is,
            "nearest": view.nearest,
        },
    )


def _responds_otherwise(response: ResponseShift, train: float, loss: float) -> Finding:
    return Finding(
        severity="warning",
        code="validation-prepared-differently",
        seen=f"the network's units respond otherwise to validation than to examples of training "
        f"with the same answer, by {response.effect**0.5:.2g} of their deviation (distance "
        f"{response.distance:.3g}, 1 where both are drawn alike); the loss is {train:.3g} in "
        f"training and {loss:.3g} in validation",
        cause="one of the two is prepared otherwise (statistics of each folder or class, values "
        "that run over their range, another filter or format), or shows other things",
        cure="take the same preparation for both, with statistics of the whole training part; show "
        "examples of each side by side",
        evidence={
            "training": train,
            "validation": loss,
            "distance": response.distance,
            "effect": response.effect,
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


def _copy_without_statistics(record: LoopRecord, train: float, loss: float) -> Finding:
    assert record.copy_differs is not None
    own, of_batch = record.copy_differs
    return Finding(
        severity="warning",
        code="norm-statistics-disagree",
        seen=f"a copy of the network is evaluated (loss {loss:.3g}, training {train:.3g}); on one "
        f"batch of training its outputs are {own:.2g} deviations from the network's with its own "
        f"norm statistics, and {of_batch:.2g} with those of the batch",
        cause="weights are averaged or copied, and the running mean and variance of batch norm "
        "are not: they are those of the beginning",
        cure="take the buffers along (AveragedModel(use_buffers=True)), or measure them anew "
        "(torch.optim.swa_utils.update_bn) before the copy is evaluated",
        evidence={"training": train, "validation": loss, "own": own, "of_batch": of_batch},
        changes={"norm_statistics": "measured"},
    )


def _mixed_statistics(record: LoopRecord, loss: float) -> Finding:
    return Finding(
        severity="warning",
        code="norm-statistics-disagree",
        seen=f"{record.norms_agree:.0%} of the answers on validation stay when batch norms take "
        f"the statistics of the batch; with the running ones the loss is {loss:.3g}, and the "
        f"answers' own entropy {record.doubt_in_validation:.3g} ({record.doubt_by_batch:.3g} with "
        "those of the batch)",
        cause="running mean and variance are of other inputs: a second pass in training mode "
        "(noise, outliers, generated or unlabelled images) moves them too, or they do not follow "
        "the weights",
        cure="put one kind of inputs through in evaluation mode, join both into one batch, or keep "
        "norms of their own; or measure the statistics anew before validation",
        evidence={"validation": loss, "agree": record.norms_agree},
        changes={"norm_statistics": "measured"},
    )


def _on_the_way(record: LoopRecord) -> Finding:
    agree = record.modes_agree if math.isnan(record.norms_agree) else record.norms_agree
    return Finding(
        severity="warning",
        code="norm-statistics-disagree",
        seen=f"batch norms' running statistics have come {record.followed:.0%} of the way from "
        f"where they began to those of a batch, and {agree:.0%} of the answers stay when norms "
        "take those",
        cause="the momentum is too small for the number of steps: torch's is the share of the new "
        "batch (0.1), other frameworks' that of the old value (0.9, 0.99)",
        cure="set momentum to 0.1 (1 − that of the other framework), or measure the statistics "
        "anew by a pass over training images in training mode without gradient",
        evidence={"followed": record.followed, "agree": agree},
        changes={"norm_statistics": "measured"},
    )


def _statistics_lag(record: LoopRecord, train: float, loss: float) -> Finding:
    return Finding(
        severity="warning",
        code="norm-statistics-disagree",
        seen=f"on one batch of training {record.modes_agree:.0%} of answers are the same in "
        f"training and evaluation mode; the loss is {train:.3g}, in validation {loss:.3g}",
        cause="batch norm's running mean and variance do not follow the weights (a small "
        "momentum, few steps, a high learning rate), or a pass holds examples of one kind (sorted "
        "micro-batches), whose statistics are not those of all",
        cure="shuffle before a batch is divided; leave momentum at 0.1, or measure the "
        "statistics anew by a pass over training images in training mode without gradient",
        evidence={"training": train, "validation": loss, "agree": record.modes_agree},
        changes={"norm_statistics": "measured"},
    )


def _may_be_of_labels(record: LoopRecord, run: Trace, train: float) -> bool:
    """Returns whether a training loss may be that of labels, for answers as sure as those seen.

    A value function's or a policy's is often lower than that of the best labels.
    """
    sure = record.sure_in_training
    if run.classes is not None or not sure > 0:
        return True
    return train + run.least > -math.log(sure) / _SLACK


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
