"""Tasks whose gradient is cut: what they are to learn depends on weights that they do not move.

    cut = cut_task(context, sample, tasks, moved)

The targets of one task are put into another order, and the loss changes by something. Where other
weights, such as those of the shared body, change that something, and the order has no effect on the
gradient there, the body was passed on by detach, or run without gradients, for this task. An order
that changes no gradient at all says nothing: an absolute error has one slope far from its targets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext, layer_of
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.nn.freezing import training_mode_

_MOVED = 0.1  # of a weight's deviation, that is added to it
_DEPENDS = 1e-3  # of what the targets change, that the weights must change
_NOISE = 1e-10  # of the largest squared change, below which two passes differ by rounding

# By index of the parameter, the squared change of its gradient.
Moves = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class _Cut:
    task: int  # counted from 0
    others: tuple[int, ...]  # weights that other tasks move, and this one depends on
    own: int  # weights that it moves


def find_cut(
    context: CheckContext,
    sample: CheckBatch,
    reorder: Callable[[CheckBatch, int], CheckBatch],
    tasks: Sequence[int],
    moved: Sequence[Moves],
) -> Finding | None:
    """Returns the finding of a task whose gradient is cut, if there is one.

    Args:
        context: of the checks.
        sample: examples.
        reorder: puts the targets of a task into another order.
        tasks: indices of the targets.
        moved: of each task, how its order changes the gradient.
    """
    reached = [{n for n, size in one.items() if size > _NOISE * max(one.values())} for one in moved]
    for place, task in enumerate(tasks):
        others = set().union(*(r for k, r in enumerate(reached) if k != place))
        if reached[place] & others or not others or not reached[place]:
            continue
        say = _Say(context, sample, reorder(sample, task))
        at = say.value()
        if at and abs(say.value(others) - at) > _DEPENDS * abs(at):
            return _finding(context, _Cut(task, tuple(sorted(others)), len(reached[place])))
    return None


@dataclass(frozen=True, slots=True)
class _Say:
    """What the order of a task's targets changes in the loss."""

    context: CheckContext
    sample: CheckBatch
    reordered: CheckBatch

    def value(self, moved: set[int] | None = None) -> float:
        """Returns it, with something added to some weights; all is put back."""
        model = self.context.model
        with preserve_training(model), torch.no_grad():
            training_mode_(model)
            generator = torch.Generator().manual_seed(0)
            for n, p in enumerate(model.parameters()):
                if n in (moved or ()):
                    p.add_(_MOVED * _spread(p) * torch.randn(p.shape, generator=generator).to(p))
            found = []
            for one in (self.sample, self.reordered):
                torch.manual_seed(0)
                found.append(float(self.context.value(one)))
        return found[1] - found[0]


def _spread(p: Tensor) -> float:
    return float(p.std()) if p.numel() > 1 and float(p.std()) > 0 else 0.1


def _finding(context: CheckContext, cut: _Cut) -> Finding:
    parameters = list(context.model.parameters())
    layers = list(dict.fromkeys(layer_of(context.model, parameters[n]) for n in cut.others))
    return Finding(
        severity="warning",
        code="no-gradient",
        seen=f"the targets {cut.task + 1} change the loss, and the gradient of {cut.own} "
        f"parameters alone: what they change depends on {len(cut.others)} others as well, which "
        f"other targets teach (in {', '.join(layers[:3])}{', …' if len(layers) > 3 else ''})",
        cause="the task's head reads features that are detached or computed under no_grad: what "
        "lies before them learns for the other tasks alone",
        cure="leave out detach() before the head, unless it is a probe that is to look alone",
        layer=layers[0],
        evidence={"task": float(cut.task + 1), "moved": float(cut.own)},
    )
