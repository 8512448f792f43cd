"""Detectors that compare what was recorded of validation with what the network says there."""

import math
from collections.abc import Iterator

import numpy as np

from ravine.findings.batch_means import find_batch_means
from ravine.findings.finding import Finding
from ravine.findings.loop_record import LoopRecord, TokenAnswers
from ravine.findings.run_trace import Trace
from ravine.findings.thresholds import (
    ACCURACY_OFF,
    NOISE_WORTH,
    REDRAWN,
    SEEN,
    WRAPPED,
    WRAPPED_CERTAIN,
)

_NEAR = 0.05  # of ln K, between the loss and the entropy of the answers
_RAISED = 0.08  # of accuracy, above what the answers are sure of
_SURE = 0.5  # of an answer; near chance loss and entropy tell nothing
_SLACK = 0.05  # of accuracy, of a bound that the loss sets
_LATE = 8  # the last eighth of the training losses
_BESIDE = 0.1  # of ln K, that one loss must be above another
_ALIKE = 0.05  # between mean probabilities that are taken for the same
_THE_SAME = 0.7  # of the answers in both modes
_FEWEST = 3  # validations


def find_in_validation(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields what does not fit between losses, accuracies and answers.

    Args:
        record: of the monitor.
        run: the recorded losses.
    """
    if record.seen_in_training > SEEN:
        yield _seen(record.seen_in_training)
    if record.wrapping is not None and _is_wrapped(*record.wrapping):
        yield _wrapped(*record.wrapping)
    if record.redrawn > REDRAWN and record.classes is not None:
        yield _redrawn(record.redrawn)
    rows = run.validations
    rows = rows[np.isfinite(rows[:, 1])] if len(rows) else rows
    is_seen = record.validations > record.elsewhere + record.swapped
    if len(rows) >= _FEWEST and is_seen and record.tokens is not None:
        yield from _counts_padding(record.tokens, float(rows[-1, 1]), float(rows[-1, 2]))
    if len(rows) < _FEWEST or run.classes is None or not is_seen:
        return
    yield from find_batch_means(record, run)
    yield from _accuracy(record, run, float(rows[-1, 1]), float(rows[-1, 2]))
    yield from _noisy_labels(record, run, float(rows[-1, 1]))


def _seen(share: float) -> Finding:
    return Finding(
        severity="warning",
        code="validation-in-training",
        seen=f"{share:.0%} of the examples of validation that were kept are among those of "
        "training, or end in the same numbers at another offset",
        cause="the data were split after examples were copied (oversampled, augmented), windows "
        "overlap, or the same data are validated that are trained on",
        cure="split first, by source or by time, then cut windows and copy; leave a gap as long as "
        "a window between both",
        evidence={"share": share},
    )


def _redrawn(share: float) -> Finding:
    return Finding(
        severity="warning",
        code="validation-prepared-differently",
        seen=f"{share:.0%} of the examples of the last validation are other forms of what they "
        "were in the one before: mirrored, cut or moved by another draw",
        cause="validation goes through the augmentation of training: one data set with its "
        "transform was split, or one transform is given to both",
        cure="give the held-out part a transform of its own without chance (resize, cut the "
        "middle, normalise); split indices, and make a data set for each part",
        evidence={"share": share},
    )


def _is_wrapped(training: float, validation: float, errors: float) -> bool:
    return errors > WRAPPED_CERTAIN and training < WRAPPED * validation


def _wrapped(training: float, validation: float, errors: float) -> Finding:
    return Finding(
        severity="warning",
        code="validation-prepared-differently",
        seen="when the end of their range is joined to its beginning, neighbours in images of "
        f"training differ {training:.2f} times as much, and {validation:.2f} times in validation",
        cause="values run over the end of their range and begin at the other one: brightness is "
        "added, or factors multiplied, in uint8 (250 + 10 is 4)",
        cure="convert to float before arithmetic, and clamp to the range after it",
        evidence={"training": training, "validation": validation, "errors": errors},
    )


def _accuracy(record: LoopRecord, run: Trace, loss: float, accuracy: float) -> Iterator[Finding]:
    """Yields an accuracy that does not belong to the loss and the answers.

    A wrong answer has a probability of at most 1/2 for the label, so that it costs ln 2 at least.
    Where the loss is no higher than the answers' own entropy, they are right as often as sure, or
    more often; where it is no lower, as often or more rarely.
    """
    if not math.isfinite(accuracy):
        return
    least = 1 - max(loss, 0.0) / math.log(2)
    sure, slack = record.sure_in_validation, _NEAR * run.chance
    is_modest, is_bold = (
        loss < record.doubt_in_validation + slack,
        loss > record.doubt_in_validation - slack and sure > _SURE,
    )
    if accuracy < least - _SLACK:
        bound = f"at most {1 - least:.0%} of the answers can be wrong at that loss"
    elif (is_modest and accuracy < sure - ACCURACY_OFF) or (
        is_bold and accuracy > sure + ACCURACY_OFF
    ):
        bound = f"the answers have a mean probability of {sure:.0%}, and the loss says that they "
        bound += "are right no more rarely" if is_modest else "are right no more often"
    else:
        return
    yield Finding(
        severity="warning",
        code="accuracy-disagrees",
        seen=f"the accuracy of validation was recorded as {accuracy:.1%}, with a loss of "
        f"{loss:.3g}: {bound}",
        cause="the metric is computed from something else than the loss: argmax over another axis, "
        "values in place of indices, labels of another batch, a division by another count",
        cure="compute it by (output.argmax(1) == labels).double().mean() on one batch, and compare",
        evidence={"accuracy": accuracy, "loss": loss, "sure": record.sure_in_validation},
    )


def _counts_padding(tokens: TokenAnswers, loss: float, accuracy: float) -> Iterator[Finding]:
    """Yields an accuracy that is what padding makes of it, where the loss leaves that out.

    A loss no lower than the answers' own entropy says that they are right no more often than sure.
    """
    if not math.isfinite(accuracy) or loss < tokens.doubt - _NEAR * math.log(tokens.classes):
        return
    counted = tokens.padding + (1 - tokens.padding) * tokens.sure
    is_raised = accuracy > tokens.sure + _RAISED
    if is_raised and abs(accuracy - counted) < abs(accuracy - tokens.sure):
        yield Finding(
            severity="warning",
            code="accuracy-disagrees",
            seen=f"the accuracy of validation was recorded as {accuracy:.1%}, with a loss of "
            f"{loss:.3g}: without padding the answers have a mean probability of "
            f"{tokens.sure:.0%}, and {counted:.0%} if the {tokens.padding:.0%} of places that are "
            "padding count as right",
            cause="the metric counts padding, which is easy or is set to be right, and the loss "
            "leaves it out",
            cure="take the mean over real tokens alone: (right & mask).sum() / mask.sum()",
            evidence={"accuracy": accuracy, "sure": tokens.sure, "padding": tokens.padding},
        )


def _noisy_labels(record: LoopRecord, run: Trace, loss: float) -> Iterator[Finding]:
    """Yields training labels that fit a network less than those of validation do.

    Its answers are as sure on the images of both, in both modes; hard labels are known.
    """
    late = run.losses[-max(4, len(run.losses) // _LATE) :]
    train = float(np.nanmean(late)) if np.isfinite(late).any() else math.nan
    accuracy, doubt = float(run.validations[-1, 2]), record.doubt_in_validation
    is_harder = train > loss + _BESIDE * run.chance
    # A network that learns wrong labels is less sure of right answers than it could be.
    is_modest = accuracy > record.sure_in_validation + ACCURACY_OFF
    is_modest = is_modest and doubt > loss + _BESIDE * run.chance
    if run.floor > 0.01 or not is_harder or not is_modest:
        return
    ours = (record.sure_in_training, record.sure_while_training, record.sure_in_validation)
    # Where training mode answers otherwise, what makes it do so makes its loss higher.
    if not max(ours) - min(ours) < _ALIKE or record.modes_agree < _THE_SAME:
        return
    # A share η of random labels costs η (their loss − that of right ones).
    by_chance = math.inf if record.loss_bounds is None else record.loss_bounds[1]
    noise = min(1.0, (train - loss) / max(by_chance - loss, 1e-9))
    yield Finding(
        severity="warning" if (1 - noise) ** 2 < NOISE_WORTH or by_chance == math.inf else "note",
        code="label-noise",
        seen=f"the training loss ends at {train:.3g} and that of validation at {loss:.3g}, while "
        f"the network is as sure of its answers in training ({ours[0]:.2f}) as in validation "
        f"({ours[2]:.2f})",
        cause="more labels of training are wrong than of validation: annotation, or a list that "
        "slipped against the examples from some row on",
        cure="look at training examples with a high loss, with their labels and row numbers",
        evidence={"training": train, "validation": loss, "sure": ours[0]},
    )
