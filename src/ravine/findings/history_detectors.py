"""Detectors over the rows of a run: findings from losses, learning rates and validations.

Every comparison is against the noise that the losses themselves have: means of parts of a run
with their standard errors, never one value against another.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from ravine.findings.divergence_detector import (
    find_at_once,
    find_divergence,
    validates_better,
)
from ravine.findings.finding import Finding
from ravine.findings.loss_curve import mean_of, smoothed
from ravine.findings.mirrored_validation import find_mirrored
from ravine.findings.run_trace import Trace
from ravine.findings.thresholds import (
    AT_CHANCE,
    BEYOND_MEASURE,
    DIVERGED,
    FALLS_FASTER,
    OVERFIT_GAP,
    OVERFIT_RISE,
    RATE_FELL,
    RUNS_OFF,
    UNDERFIT,
)

_FEWEST = 8  # rows of the shortest run that is judged
_CERTAINLY, _CLEARLY = 10.0, 3.0  # standard errors
_OTHER_LOSS = 4.0  # times the loss of knowing nothing, at the first validation
_NOISY = 0.1  # deviation of single losses over that of knowing nothing
_A_LITTLE = 0.04  # of accuracy, above that of guessing
_FEW = 5  # rows of the shortest run of which a plateau can be reported


def find_over_time(run: Trace) -> Iterator[Finding]:
    """Yields the findings of a run's losses, learning rates and validations."""
    yield from _not_finite(run)
    known = np.isfinite(run.losses).sum()
    if known >= _FEW:
        yield from _plateau(run)
    if known < _FEWEST:
        yield from find_at_once(run)
        return
    yield from _runs_off(run)
    yield from find_mirrored(run)
    yield from find_divergence(run)
    yield from _rate_fell(run)
    yield from _generalisation(run)


def _not_finite(run: Trace) -> Iterator[Finding]:
    lost = ~np.isfinite(run.losses)
    if not lost.any() and not run.skipped:
        return
    first = int(run.steps[lost.argmax()]) if lost.any() else None
    ends = bool(lost.any() and lost[-3:].all())
    yield Finding(
        severity="critical" if ends else "warning",
        code="not-finite",
        seen="the loss is not finite"
        + (f" from step {first} on" if ends else f" in {max(int(lost.sum()), run.skipped)} steps"),
        cause="numbers overflow: the learning rate is too high, or a division or logarithm meets 0",
        cure="lower the learning rate (--lr), limit the gradients (--clip 1), or begin with a "
        "warm-up",
        step=first,
        evidence={"lost": float(lost.sum()), "skipped": run.skipped},
        changes={"lr": "*0.1"},
    )


def _plateau(run: Trace) -> Iterator[Finding]:
    """A run that has learnt nothing, and does not begin to; a warning where that is not certain."""
    half = len(run.losses) // 2
    end, error = mean_of(run.losses[half:])
    third, _ = mean_of(run.losses[half : half + half // 2])
    last, last_error = mean_of(run.losses[half + half // 2 :])
    falls = third - last > 3 * last_error + 0.01 * run.chance
    if run.classes is None and run.ignorance is None and run.chance - end > _CERTAINLY * error:
        return  # of a loss of which nothing is known, any certain fall may be all there is
    level = run.level(AT_CHANCE)
    if end > level and not falls and end < DIVERGED * run.chance:
        sure = len(run.losses) >= _FEWEST and end - 2 * error > level
        hard = _is_uncertain(run, end, error) or _knows_a_little(run)
        yield Finding(
            severity="note" if hard else "critical" if sure else "warning",
            code="plateau",
            seen=f"the loss stays at {end:.3g} (± {error:.2g}), and {run.chance:.3g} is that of a "
            "network that knows nothing",
            cause="the inputs tell little of the labels, or something keeps the network from "
            "learning them: cannot tell which"
            if hard
            else "nothing that is learnt reaches the loss",
            cure="ask for the wiring, the labels and the learning rate: ravine check DATA, "
            "or ravine.check in your own loop",
            step=int(run.steps[0]),
            evidence={"loss": end, "error": error, "chance": run.chance},
        )


def _is_uncertain(run: Trace, end: float, error: float) -> bool:
    """Returns whether the loss of knowing nothing is itself not known well enough.

    It is taken from the first losses then; a clear fall, if a small one, may be all there is.
    """
    if run.classes is not None or run.ignorance is not None:
        return False
    single = float(np.nanstd(run.losses[len(run.losses) // 2 :]))
    return run.chance - end > _CLEARLY * error or single > _NOISY * run.chance


def _knows_a_little(run: Trace) -> bool:
    """Returns whether held-out examples are told apart, if little: hard data look like that."""
    rows = run.validations[len(run.validations) // 2 :]
    if len(rows) < 2 or not np.isfinite(rows[:, 1:3]).all():
        return False
    guessed = math.exp(-run.chance)
    return bool(rows[:, 2].min() > guessed + _A_LITTLE and rows[:, 1].max() < run.chance)


def _runs_off(run: Trace) -> Iterator[Finding]:
    """Yields a loss that is far below 0 and falls ever faster, or is beyond all measure."""
    losses = smoothed(run.losses)
    thirds = [losses[k * (len(losses) - 1) // 3] for k in range(4)]
    first, second, third = (before - after for before, after in pairwise(thirds))
    start = max(1.0, abs(thirds[0] + run.least))
    if run.least > -RUNS_OFF * start:
        return
    is_faster = third > FALLS_FASTER * second > FALLS_FASTER**2 * max(first, 0.0)
    if is_faster or run.least < -BEYOND_MEASURE * start:
        yield Finding(
            severity="critical",
            code="loss-runs-off",
            seen=f"the loss falls to {run.least:.3g}"
            + (", and faster from third to third of the run " if is_faster else ", by third ")
            + f"({first:.3g}, {second:.3g}, {third:.3g})",
            cause="a term has no least value: its sign is turned round, or what should limit it "
            "(a penalty, a clamp) is missing",
            cure="print each term of the loss over some steps: none may run to −∞",
            step=int(run.steps[0]),
            evidence={"least": run.least, "last": float(third), "before": float(second)},
        )


def _rate_fell(run: Trace) -> Iterator[Finding]:
    known = run.rates[np.isfinite(run.rates)]
    if len(known) < _FEWEST or known.max() <= 0:
        return
    small = known < 1.001 * RATE_FELL * known.max()  # two divisions by ten are as far
    resting = int(small[::-1].argmin())  # rows at the end; the one at the peak is not small
    end, _ = mean_of(run.losses[-max(2, len(run.losses) // 10) :])
    if resting > 0.5 * len(small) and end > run.level(0.1):
        first = len(small) - resting
        yield Finding(
            severity="warning",
            code="rate-too-low",
            seen=f"the learning rate is at most {RATE_FELL:.0%} of its peak for "
            f"{resting / len(small):.0%} of the run, and the loss still is {end:.3g}",
            cause="the schedule ends long before the training does, or one that waits for progress "
            "(ReduceLROnPlateau) watches a number in the wrong direction",
            cure="let the schedule run over all steps (--schedule cosine); give an accuracy "
            "mode='max'",
            step=int(run.steps[first]),
            evidence={"share": resting / len(small), "loss": end},
            changes={"schedule": "cosine"},
        )


def _generalisation(run: Trace) -> Iterator[Finding]:
    rows = run.validations
    rows = rows[np.isfinite(rows[:, 1]) & np.isfinite(rows[:, 3])] if len(rows) else rows
    if len(rows) < 3:
        return
    loss, train = rows[-1][[1, 3]]
    least = int(rows[:, 1].argmin())
    evidence = {"training": float(train), "validation": float(loss), "least": rows[least, 1]}
    learns = train < 0.5 * run.chance
    if run.normalised and learns and rows[:, 1].min() > max(0.9 * run.chance, 2 * train):
        yield _disagreeing(int(rows[0, 0]), evidence)
    elif learns and is_at_chance(rows, run):
        yield at_chance({**evidence, "accuracy": float(rows[-1, 2])})
    elif _is_other_loss(rows, run):
        return
    elif learns and train < OVERFIT_GAP * loss and loss > OVERFIT_RISE * rows[least, 1]:
        yield _overfitting(train, loss, int(rows[least, 0]), evidence)
    elif _underfits(rows, run):
        yield Finding(
            severity="note",
            code="underfitting",
            seen=f"the training loss stays at {train:.3g} and no longer falls"
            + (f", where the targets allow {run.floor:.3g}" if run.floor > 0.01 else "")
            + f"; the validation loss is as good ({loss:.3g})",
            cause="the network is too small, held back (dropout, weight decay), or not trained "
            "long enough; the losses alone do not tell which",
            cure="train a wider or deeper one, or with less dropout and weight decay, for as long: "
            "if its training loss falls further, this one was too small",
            step=int(rows[len(rows) // 2, 0]),
            evidence=evidence,
            changes={"dropout": 0.0},
        )


def _overfitting(train: float, loss: float, step: int, evidence: Mapping[str, float]) -> Finding:
    return Finding(
        severity="warning",
        code="overfitting",
        seen=f"the training loss is {train:.3g}, and the validation loss has risen from "
        f"{evidence['least']:.3g} to {loss:.3g}",
        cause="the network memorises its examples: there are too few for its size",
        cure="more data or augmentation (--augment, --mixup 0.2), dropout (--dropout 0.3), "
        "more weight decay, or stop at the best step",
        step=step,
        evidence=evidence,
        changes={"dropout": 0.3},
    )


def is_at_chance(rows: np.ndarray, run: Trace) -> bool:
    """Returns whether validation was never better than knowing nothing, after its first row.

    Args:
        rows: (n, 5) of `Trace.validations`.
        run: that they belong to.
    """
    if len(rows) < 2 or rows[1:, 1].min() < AT_CHANCE * run.chance or _is_other_loss(rows, run):
        return False
    known = rows[1:, 2][np.isfinite(rows[1:, 2])]
    guessed = math.exp(-run.chance)
    return not len(known) or bool(known[-1] < guessed + 0.25 * (1 - guessed))


def _is_other_loss(rows: np.ndarray, run: Trace) -> bool:
    """Returns whether validation (n, 5) records another quantity than training, as of a policy.

    Where little has been learnt, one loss of both is about the same in both.
    """
    if run.classes is not None or run.ignorance is not None:
        return False
    if run.least < 0 and validates_better(run):
        return True
    return bool(rows[0, 1] > _OTHER_LOSS * np.nanmax([run.chance, rows[0, 3]]))


def at_chance(evidence: Mapping[str, float]) -> Finding:
    """Returns the finding of a validation at chance of which nothing else is known."""
    return Finding(
        severity="warning",
        code="validation-at-chance",
        seen=f"the training loss is {evidence['training']:.3g}, and validation never was better "
        f"than knowing nothing ({evidence['validation']:.3g}); cannot tell why",
        cause="validation images are prepared otherwise, their labels do not belong to them, "
        "another network is evaluated, or only single training examples were memorised",
        cure="evaluate a batch of training images in evaluation mode: if that is good, compare the "
        "preparation and labels of validation; a Monitor around the loop tells them apart",
        evidence=evidence,
    )


def _underfits(rows: np.ndarray, run: Trace) -> bool:
    half = rows[len(rows) // 2 :]
    loss, train = half[-1][[1, 3]]
    flat = half[0, 3] - train < 0.03 * run.chance
    is_high = run.level(UNDERFIT) < train < run.level(AT_CHANCE)
    return bool(is_high and flat and loss < 1.15 * train and not _is_accurate(half[-1], run))


def _is_accurate(row: np.ndarray, run: Trace) -> bool:
    """Returns whether the accuracy is so high that a high loss does not mean underfitting.

    By Fano's inequality a share e of errors goes with at most h(e) + e ln(K−1) nats of doubt;
    what the loss has above that lies in the targets or in how sure the answers are.
    """
    known = row[[2, 4]][np.isfinite(row[[2, 4]])]
    if not len(known):
        return False
    e = float(min(1.0, max(0.0, 1 - known.max())))
    others = math.log(max(1.0, math.expm1(run.chance)))  # K−1, of ln K
    mixed = -sum(share * math.log(share) for share in (e, 1 - e) if share > 0)
    doubt = mixed + e * others
    return doubt < UNDERFIT * run.chance


def _disagreeing(step: int, evidence: Mapping[str, float]) -> Finding:
    return Finding(
        severity="warning",
        code="norm-statistics-disagree",
        seen=f"the training loss is {evidence['training']:.3g}, and in evaluation mode the loss "
        f"was never better than {evidence['least']:.3g}",
        cause="batch norm's running mean and variance do not follow the weights, or validation "
        "images are prepared in another way",
        cure="measure the statistics anew with the weights that are evaluated "
        "(--norm-statistics measured); prepare both alike",
        step=step,
        evidence=evidence,
        changes={"norm_statistics": "measured"},
    )
