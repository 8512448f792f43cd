"""Detectors over what a monitor saw of the loop: optimizers, modes, weights, and validation."""

import math
from collections.abc import Iterator

import numpy as np

from ravine.findings.finding import Finding
from ravine.findings.freezing_detector import find_stopped
from ravine.findings.gradient_detectors import find_gradients
from ravine.findings.held_out_detectors import find_behind
from ravine.findings.loop_record import LoopRecord
from ravine.findings.run_trace import Trace
from ravine.findings.softmax_detector import find_softmax_twice
from ravine.findings.thresholds import (
    AT_CHANCE,
    MIXED,
    NOISY,
    OUTSIDE,
    RESTING,
)

_FEWEST = 8  # recorded losses
_LEFT_OUT = 0.05  # weights that no optimizer holds, over those that one does
_UNDONE, _OFTEN = 0.3, 64  # share of updates that is undone, and changes that are kept
_WHOLLY, _ALWAYS = 0.05, 0.8  # of an update, left where it is undone; and share of the steps
_AGAIN, _LASTING = 3, 0.5  # changes to the same weights, and the share of the steps that they span
_BY_HAND = 0.2  # of the steps, that move the weights: those that are rounded may stay for a while
_COLD = 0.05  # of the planned learning rate
# Relative difference of a rate from the square of the planned one, and shares: of it, that it has
# risen from, and of the planned one, that may be meant.
_AS_SQUARE, _RISEN, _NO_FACTOR = 1e-3, 0.8, 0.2
_FALLS_BACK, _OFTEN_ANEW = 0.5, 2  # of the rate before, and times that it does


def find_in_loop(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields what is wrong with the loop.

    Args:
        record: of the monitor.
        run: the recorded losses.
    """
    by_hand = _is_by_hand(record)
    if not by_hand:
        yield from _not_held(record)
        yield from _optimizer(record)
    yield from _never_warm(record, run)
    yield from _mode(record)
    if not by_hand:
        changed = [*_outside(record, run), *_sent_back(record)]
        yield from changed or _left_in(record)
    yield from find_stopped(record)
    yield from find_gradients(record)
    yield from find_softmax_twice(record, run)
    if record.noise > NOISY:
        yield _noisy(record.noise)
    if record.influence > MIXED:
        yield _mixed(record.influence)
    yield from find_behind(record, run)


def _is_by_hand(record: LoopRecord) -> bool:
    """Returns whether the loop moves the weights by itself, and no optimizer of torch does.

    So it is with copies of the weights that an optimizer holds, and that are written back.
    """
    steps = record.losses if not record.steps else record.steps
    moves = record.is_foreign or not record.steps + record.other_steps
    return moves and len(record.outside) > _BY_HAND * min(steps, _OFTEN)


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
    reached = float(known.max())
    # A rise that ends at the rate times itself; a run that was resumed late does not rise.
    is_square = math.isclose(reached, record.planned**2, rel_tol=_AS_SQUARE)
    is_square &= float(known[0]) < _RISEN * reached
    if reached >= (_NO_FACTOR if is_square else _COLD) * record.planned:
        return
    returns = int((known[1:] < _FALLS_BACK * known[:-1]).sum())
    learns_nothing = _learns_nothing(run)
    if returns >= _OFTEN_ANEW or is_square or learns_nothing:
        yield _cold(
            record,
            reached,
            0 if is_square else returns,
            rises=not is_square and bool(known[-1] >= reached),
            fell=not learns_nothing,
        )


def _cold(record: LoopRecord, reached: float, returns: int, *, rises: bool, fell: bool) -> Finding:
    begins_anew = returns >= _OFTEN_ANEW
    cause = "what the schedule multiplies with is no factor near 1: LambdaLR's function is to "
    cause += "return the share of the learning rate, and not the rate itself"
    if begins_anew:
        cause = "the warm-up begins anew each time (each epoch, or where the schedule is made)"
    elif rises:
        cause = "the warm-up is longer than the training: its steps are counted in another unit"
    return Finding(
        severity="warning",
        code="rate-too-low",
        seen=f"the learning rate has risen to {reached:.2g} in {record.steps} steps"
        + (f", and fell back {returns} times" if begins_anew else "")
        + f"; {record.planned:.2g} is what the schedule multiplies"
        + ("" if fell else ", and the loss has not fallen"),
        cause=cause,
        cure="make the schedule once, and step it without the number of the batch in its epoch"
        if begins_anew
        else "let the warm-up take a twentieth of all steps"
        if rises
        else "return factors that reach 1 (rate / base rate)",
        evidence={"reached": reached, "planned": record.planned, "returns": float(returns)},
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
    whole = [one for one in undone if abs(one.of_update - 1) < _WHOLLY]
    most = min(record.steps, _OFTEN)
    is_undone = len(whole) > _ALWAYS * most or (len(undone) > 0.5 * most and _learns_nothing(run))
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


def _sent_back(record: LoopRecord) -> Iterator[Finding]:
    """Yields weights that are put back again and again to what they were at one step."""
    states = [one.again for one in record.outside if one.again is not None]
    most = max(states, key=states.count, default=None)
    back = [one for one in record.outside if most is not None and one.again == most]
    # A step that is taken back where it does not help leads to one state after another.
    if len(back) < _AGAIN or back[-1].step - back[0].step < _LASTING * record.steps:
        return
    yield Finding(
        severity="warning",
        code="weights-changed-outside",
        seen=f"{len(back)} times between step {back[0].step} and step {back[-1].step} the weights "
        "were put back to what they had been before: what the optimizer learnt since is lost",
        cause="a checkpoint is loaded again and again: the best one is kept by a comparison the "
        "wrong way round (an accuracy that must fall), or nothing is ever better than it",
        cure="compare a loss by <, an accuracy by >, and load the best weights once, at the end",
        step=back[0].step,
        evidence={"times": float(len(back)), "largest": max(one.relative for one in back)},
    )


def _left_in(record: LoopRecord) -> Iterator[Finding]:
    """Yields averaged weights that each validation puts in, and that training goes on from."""
    seen = record.kept_in
    if seen is None or seen.times < _AGAIN or seen.times < _ALWAYS * seen.followed:
        return
    yield Finding(
        severity="warning",
        code="weights-changed-outside",
        seen=f"after {seen.times} of {seen.followed} validations training went on from the weights "
        "that validation was asked with, and not from those that the optimizer had left (up to "
        f"{seen.relative:.1%} of their norm apart): they lie back on the way that it had come",
        cause="averaged weights are put in for validation (apply_shadow, store and copy_to) and "
        "the trained ones not put back after it",
        cure="call restore() after validation, or evaluate a copy of the network; nothing, where "
        "training is to go on from the average (Lookahead over an epoch)",
        evidence={"times": float(seen.times), "largest": seen.relative},
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


def _mixed(influence: float) -> Finding:
    return Finding(
        severity="warning",
        code="examples-mixed",
        seen="the trained network's outputs of an example depend on the others of its batch: in "
        f"evaluation mode they change by {influence:.2g} of their standard deviation when half of "
        "it is left out",
        cause="an operation runs over the batch axis: attention or a recurrent layer without "
        "batch_first=True, a softmax or a norm with dim=0, or a reshape that mixes examples and "
        "features",
        cure="take batch_first=True, and dim=1 (or -1) in place of 0; keep the first axis as it is "
        "in each reshape",
        evidence={"influence": influence},
    )
