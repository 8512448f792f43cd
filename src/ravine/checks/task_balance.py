"""Tasks of one network that drown each other: how far the targets of each one move its weights.

The targets of one task are put into another order, and the gradient of the loss changes: by how
much in the weights that all tasks use is that task's say in them. No term of the loss needs to be
known.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.cut_tasks import find_cut
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.step_observation import declared_gradient
from ravine.checks.step_record import Tensors
from ravine.checks.term_balance import check_terms
from ravine.core.nested import map_tensors, tensors_in
from ravine.findings.finding import Finding
from ravine.findings.thresholds import DROWNED

_EXAMPLES, _MOST_TASKS = 32, 6


def check_balance(context: CheckContext) -> Iterator[Finding]:
    """Yields a task whose targets hardly move the weights that another one's, or a term, move.

    Or not at all: `no-gradient`.
    """
    drowned = list(_drowned_by_a_task(context))
    yield from drowned or check_terms(context)


def _drowned_by_a_task(context: CheckContext) -> Iterator[Finding]:
    sample = context.samples[0].first(_EXAMPLES)
    tasks = _tasks(sample)
    if not 2 <= len(tasks) <= _MOST_TASKS:
        return
    try:
        at = declared_gradient(context, sample)
        moved = [_apart(declared_gradient(context, _reordered(sample, task)), at) for task in tasks]
    except REFUSALS:
        return
    cut = find_cut(context, sample, _reordered, tasks, moved)
    if cut is not None:
        yield cut
        return
    shared = [n for n in at if all(float(one.get(n, 0.0)) > 0 for one in moved)]
    says = [sum(one[n] for n in shared) ** 0.5 for one in moved]
    if not shared or min(says) <= 0 or max(says) < DROWNED * min(says):
        return
    least, most = says.index(min(says)), says.index(max(says))
    yield Finding(
        severity="warning",
        code="task-drowned",
        seen=f"another order of the targets {tasks[most] + 1} changes the gradient of the shared "
        f"weights {max(says) / min(says):.3g} times as much as one of the targets "
        f"{tasks[least] + 1}",
        cause="the terms of the loss are of very unequal size: a sum beside a mean, a target in "
        "its own unit, or a factor that is far too small",
        cure="bring the terms to one size: means in place of sums, targets with deviation 1, "
        "factors near 1",
        evidence={"ratio": max(says) / min(says)},
    )


def _tasks(sample: CheckBatch) -> list[int]:
    """Returns the indices of the targets that differ between the examples."""
    if isinstance(sample.targets, Tensor):
        return []
    return [
        n
        for n, t in enumerate(tensors_in(sample.targets))
        if t.dim() and len(t) == len(sample) and bool((t != t[:1]).any())
    ]


def _reordered(sample: CheckBatch, task: int) -> CheckBatch:
    numbers = iter(range(len(tensors_in(sample.targets))))
    targets: Any = map_tensors(
        sample.targets, lambda t: t.flip(0).roll(1, 0) if next(numbers) == task else t
    )
    return replace(sample, targets=targets)


def _apart(one: Tensors, other: Tensors) -> dict[int, float]:
    """Returns the squared norms of the differences, by parameter."""
    return {
        n: float((one[n].double() - other[n].double()).square().sum()) for n in other if n in one
    }
