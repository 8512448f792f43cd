"""Tasks of one network that drown each other: how far the targets of each one move its weights.

The targets of one task are put into another order, and the gradient of the loss changes: by how
much in the weights that all tasks use is that task's say in them. No term of the loss needs to be
known.
"""

from collections.abc import Iterator

from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.cut_tasks import find_cut
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.step_observation import declared_gradient
from ravine.checks.step_record import Tensors
from ravine.checks.task_progress import task_progress, with_other_targets
from ravine.checks.term_balance import check_terms
from ravine.core.nested import tensors_in
from ravine.findings.finding import Finding
from ravine.findings.thresholds import DROWNED, SMALL_SAY

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
        others = [declared_gradient(context, with_other_targets(sample, n)) for n in tasks]
    except REFUSALS:
        return
    moved = [_apart(one, at) for one in others]
    cut = find_cut(context, sample, with_other_targets, tasks, moved)
    if cut is not None:
        yield cut
        return
    shared = [n for n in at if all(float(one.get(n, 0.0)) > 0 for one in moved)]
    says = [sum(one[n] for n in shared) ** 0.5 for one in moved]
    if not shared or min(says) <= 0 or max(says) < SMALL_SAY * min(says):
        return
    least, most = says.index(min(says)), says.index(max(says))
    if max(says) < DROWNED * min(says):
        yield from _without_progress(context, tasks[least], max(says) / min(says))
        return
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


def _without_progress(context: CheckContext, task: int, ratio: float) -> Iterator[Finding]:
    """Yields a task of small say that is learnt alone, and hardly beside the others."""
    try:
        found = task_progress(context, task)
    except REFUSALS:
        return
    if found is None or not found.is_slow:
        return
    yield Finding(
        severity="warning",
        code="task-drowned",
        seen=f"after {found.steps} steps the loss of the targets {task + 1} on fresh examples "
        f"is higher by {found.whole:.2g} of its first value with the targets of others, and by "
        f"{found.alone:.2g} where it is trained alone; another moves the shared weights "
        f"{ratio:.3g} times as much",
        cause="the weight of this task, or the unit of its targets, is too small beside the "
        "others': the shared layers learn for them",
        cure="bring the terms to one size: targets with deviation 1, means in place of sums, "
        "weights near 1",
        evidence={"ratio": ratio, "with": found.whole, "alone": found.alone},
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


def _apart(one: Tensors, other: Tensors) -> dict[int, float]:
    """Returns the squared norms of the differences, by parameter."""
    return {
        n: float((one[n].double() - other[n].double()).square().sum()) for n in other if n in one
    }
