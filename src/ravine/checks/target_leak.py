"""Targets that the inputs hold already: the next token that a position sees, a column, a window.

A sequence network that is to tell what comes next is asked whether the output of a position changes
when the input that it shall predict is another one. A column is compared with the targets by its
correlation, or by how little it varies within a class.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.copied_targets import check_copied_targets
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.own_label import OwnLabel, find_own_label, known_rows
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import COLUMN_TELLS, NEXT_IN_INPUT, VALUES_TOLD

_EXAMPLES = 32
_FEWEST, _MOST = 32, 2000  # examples whose columns are compared
_MOST_COLUMNS, _MOST_TARGETS = 4096, 16
_MOST_ENCODED = 256  # columns of a table that are asked whether they were made from targets
_SAME = 1e-4  # change of an output over its size, below which it stays
_EXACT = 1e-5  # of a column's variance, that is not the target's
_ALONE = 0.5  # of a column's variance within the classes: what the middle column has


def check_target_leak(context: CheckContext) -> Iterator[Finding]:
    """Yields targets that a position, a column or a window of the inputs tells by itself."""
    found = [*_sees_next(context), *check_copied_targets(context)]
    yield from found or _columns(context)


@dataclass(frozen=True, slots=True)
class _Next:
    """An input (N, T, …) whose value at one position is the target of the position before it."""

    index: int
    inputs: Tensor
    counted: Tensor  # (T,) whether the loss counts the output of a position


def _sees_next(context: CheckContext) -> Iterator[Finding]:
    """Yields outputs that depend on the input that they are to predict."""
    sample = context.samples[0].first(_EXAMPLES)
    targets = sample.targets
    if not isinstance(targets, Tensor) or len(sample) < 4 or not _may_be_next(sample, targets):
        return
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        out = context.output(sample)
        if not isinstance(out, Tensor) or not out.is_floating_point():
            return
        found = _next_in(context, sample, out)
        if found is None:
            return
        positions = [p for p in range(1, len(found.counted)) if bool(found.counted[p - 1])]
        chosen = positions[:: max(1, len(positions) // 4)][:5]
        try:
            leaks = [_changes(context, sample, out, found, p) for p in chosen]
        except REFUSALS:
            return
    if leaks and all(leaks):
        yield Finding(
            severity="critical",
            code="label-in-input",
            seen=f"the target of a position is the next input, and in {len(leaks)} of {len(leaks)} "
            "positions that were tried the output changes when that next input is another one",
            cause="the network sees what it shall predict: attention without a causal mask, a "
            "recurrent layer that runs in both directions, or a convolution that is not shifted",
            cure="mask later positions (is_causal=True, or a mask of −inf above the diagonal), run "
            "in one direction, pad on the left alone",
            evidence={"positions": float(len(leaks))},
        )


def _may_be_next(sample: CheckBatch, targets: Tensor) -> bool:
    """Returns whether an input has a number for each target, so that a pass is worth its time."""
    return any(
        x.dim() > 1 and x.shape[1] >= 4 and x.numel() == targets.numel()
        for x in tensors_in(sample.inputs)
    )


def _next_in(context: CheckContext, sample: CheckBatch, out: Tensor) -> _Next | None:
    """Returns the input that is the targets one position further; None where there is none."""
    targets = sample.targets
    for index, x in enumerate(tensors_in(sample.inputs)):
        if x.dim() < 2 or len(x) != len(sample) or x.shape[1] < 4:
            continue
        t = targets.reshape(x.shape) if targets.numel() == x.numel() else None
        if t is None or t.is_floating_point() != x.is_floating_point():
            continue
        counted = _counted(context, sample, out, x.shape[1])
        if counted is None or len(x.unique()) < 3:
            continue
        shares = [_shares_with_next(x, t, shift) for shift in (0, 1)]
        is_inside = shares[0] > NEXT_IN_INPUT and not bool(counted[-1])  # the loss shifts by itself
        if is_inside or (shares[1] > NEXT_IN_INPUT and shares[0] < NEXT_IN_INPUT):
            return _Next(index, x, counted)
    return None


def _shares_with_next(x: Tensor, targets: Tensor, shift: int) -> float:
    """Returns the share of targets (N, T, …) that are the input `shift` positions further."""
    known = targets[:, : targets.shape[1] - shift]
    is_same = known == x[:, shift:]
    if not x.is_floating_point():
        is_same = is_same[known >= 0]  # the others are passed over
    return float(is_same.double().mean()) if is_same.numel() else 0.0


def _axes(out: Tensor, length: int) -> list[int]:
    return [axis for axis in range(1, out.dim()) if out.shape[axis] == length]


def _counted(context: CheckContext, sample: CheckBatch, out: Tensor, length: int) -> Tensor | None:
    """Returns of each position whether the loss has a slope by its output (T,)."""
    axes = _axes(out, length)
    if not axes:
        return None
    free = out.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            value = context.loss(free, sample.targets)
            (slope,) = torch.autograd.grad(value, free)
    except REFUSALS:
        return None
    others = [axis for axis in range(out.dim()) if axis != axes[0]]
    return slope.abs().sum(others) > 0


def _changes(
    context: CheckContext, sample: CheckBatch, out: Tensor, found: _Next, position: int
) -> bool:
    """Returns whether the output before a position changes with the input there."""
    other = found.inputs.clone()
    other[:, position] = other[:, position].roll(1, 0)
    moved = (other != found.inputs).flatten(1).any(1)
    if not bool(moved.any()):
        return False
    numbers = iter(range(len(tensors_in(sample.inputs))))
    inputs = map_tensors(sample.inputs, lambda t: other if next(numbers) == found.index else t)
    theirs = context.output(replace(sample, inputs=inputs))
    size = float(out.double().std())
    return all(
        float((theirs - out).select(axis, position - 1)[moved].abs().max()) > _SAME * size
        for axis in _axes(out, len(found.counted))
    )


def _columns(context: CheckContext) -> Iterator[Finding]:
    """Yields a column of the first floating input that is the target, or tells it."""
    rows = [(one.float_inputs, one.targets) for one in context.samples]
    known = [(x[0].flatten(1), y) for x, y in rows if x and isinstance(y, Tensor) and y.dim()]
    if len(known) < len(rows) or any(len(x) != len(y) for x, y in known):
        return
    if rows[0][0][0].dim() > 3 or any(x.shape[1] != known[0][0].shape[1] for x, _ in known):
        return
    if any(y.shape[1:] != known[0][1].shape[1:] for _, y in known):
        return
    x = torch.cat([one for one, _ in known])[:_MOST].double()
    y = torch.cat([one for _, one in known])[:_MOST]
    if len(x) < _FEWEST or not 2 <= x.shape[1] <= _MOST_COLUMNS or not bool(x.isfinite().all()):
        return
    target = y.reshape(len(y), -1)
    if x.shape[1] <= _MOST_ENCODED and target.shape[1] == 1:
        table, told = known_rows(context.source) or (x.cpu(), target[:, 0].cpu())
        for own in find_own_label(table, told):
            yield _encoded(own, len(table))
            return
    if y.is_floating_point():
        flat = y.double().flatten(1) if y.dim() > 1 else y.double()[:, None]
        if flat.shape[1] <= _MOST_TARGETS and flat.shape[1] < x.shape[1]:
            yield from _correlated(x, flat)
    elif y.dim() == 1:
        yield from _separated(x, y)


def _encoded(own: OwnLabel, count: int) -> Finding:
    return Finding(
        severity="warning",
        code="label-in-input",
        seen=f"column {own.column} of the inputs, counted from 0, knows the targets of its own "
        f"rows: the mean targets of {own.groups} groups of {count} rows with one value follow it "
        f"with {own.ratio:.2f} times the spread that chance makes ({own.certain:.1f} standard "
        "deviations less)",
        cause="a target encoding: the mean target of a category over all rows, the row itself "
        "among them; rare categories tell their own target, and in validation they do not",
        cure="encode each row from other rows (out of fold, or leave one out), from training rows "
        "alone, and draw rare categories towards the mean",
        evidence={"column": float(own.column), "groups": float(own.groups), "ratio": own.ratio},
    )


def _correlated(x: Tensor, y: Tensor) -> Iterator[Finding]:
    """Yields a column of (N, D) that is one of the targets (N, k), up to scale and shift."""
    x, y = (one - one.mean(0) for one in (x, y))
    sizes = x.norm(dim=0)[:, None] * y.norm(dim=0)[None]
    left = 1 - ((x.mT @ y) / sizes.clamp_min(1e-30)).square()  # (D, k), 0 where they are the same
    left = left.masked_fill(sizes <= 0, 1.0)
    least, column = left.min(0)
    task = int(least.argmin())
    place, rest = int(column[task]), left[:, task]
    others = rest[torch.arange(len(rest)) != place]
    is_noisy = float(least[task]) < VALUES_TOLD and float(others.min()) > 0.1
    if float(least[task]) < _EXACT or is_noisy:
        yield _told(
            place, f"it explains {1 - float(least[task]):.3%} of the variance of a target", len(x)
        )


def _separated(x: Tensor, labels: Tensor) -> Iterator[Finding]:
    """Yields a column of (N, D) that hardly varies within the classes, and the others do."""
    classes = labels.unique()
    if not 2 <= len(classes) <= len(labels) // 8:
        return
    within = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    for one in classes.tolist():
        part = x[labels == one]
        within += (part - part.mean(0)).square().sum(0)
    total = (x - x.mean(0)).square().sum(0)
    shares = torch.where(total > 0, within / total.clamp_min(1e-30), torch.ones_like(total))
    place = int(shares.argmin())
    if float(shares[place]) < COLUMN_TELLS and float(shares.median()) > _ALONE:
        yield _told(
            place,
            f"{1 - float(shares[place]):.2%} of its variance lies between the {len(classes)} "
            f"classes, in the middle column {1 - float(shares.median()):.2%}",
            len(x),
        )


def _told(column: int, how: str, count: int) -> Finding:
    return Finding(
        severity="warning",
        code="label-in-input",
        seen=f"column {column} of the inputs, counted from 0, tells the targets of {count} "
        f"examples by itself: {how}",
        cause="the target, or something made from it, is among the inputs: a column that was not "
        "dropped, a window that reaches one step too far",
        cure="leave that column out; let a window end before what it shall predict",
        evidence={"column": float(column), "examples": float(count)},
    )
