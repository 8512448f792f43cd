"""A network whose outputs are the targets of another one, and that is trained with it.

A distillation's teacher, or a target network, must not follow its student: the loss is met as well
by both of them knowing nothing. Such outputs are compared with no targets; their gradient is 0
where they are the student's own; and no parameter that makes them makes the student's.

Shape letters: N examples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext, layer_of
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding

_EXAMPLES, _FEWEST = 16, 4
_SAME = 1e-4  # of a gradient, below which a difference is one of rounding


def check_teacher(context: CheckContext) -> Iterator[Finding]:
    """Yields outputs that are another network's targets, and get a gradient."""
    sample = context.samples[0].first(_EXAMPLES)
    axis = _stacked_along(context.measured.outputs)
    shapes = [t.shape for t in tensors_in(context.measured.outputs) if t.dim() > 1]
    if (axis is None and len(set(shapes)) == len(shapes)) or len(sample) < _FEWEST:
        return
    with preserve_training(context.model):
        context.model.train()
        output = context.output(sample)
        if axis is not None:
            output, context = output.unbind(axis), _of_parts(context, axis)
        parts = [t for t in tensors_in(output) if t.requires_grad and t.dim() > 1]
        reached = [reached_by(context, part, is_cut=axis is not None) for part in parts]
        pairs = [
            (teacher, student)
            for teacher in range(len(parts))
            for student in range(len(parts))
            if teacher != student
            and parts[teacher].shape == parts[student].shape
            and reached[teacher]
            and reached[student]
            and not reached[teacher] & reached[student]
            and all(_is_held(context, reached[one]) for one in (teacher, student))
        ]
        found = [one for one in pairs if _follows(context, sample, output, parts, *one)]
    if found:
        weights = list(context.model.parameters())
        yield _finding(layer_of(context.model, weights[min(reached[found[0][0]])]))


def _is_held(context: CheckContext, weights: set[int]) -> bool:
    """Returns whether the optimizer, where it is known, holds any of the parameters."""
    if context.optimizer is None:
        return True
    held = {id(p) for group in context.optimizer.param_groups for p in group["params"]}
    return any(id(p) in held for n, p in enumerate(context.model.parameters()) if n in weights)


def _stacked_along(outputs: Any) -> int | None:
    """Returns the axis along which two outputs stand in one tensor; None where they do not."""
    if not isinstance(outputs, Tensor) or outputs.dim() < 3:
        return None
    axes = [axis for axis in (outputs.dim() - 1, 1, 0) if outputs.shape[axis] == 2]
    return axes[0] if axes else None


def _of_parts(context: CheckContext, axis: int) -> CheckContext:
    """Returns a context whose loss takes two outputs that it had in one tensor."""
    loss = context.loss
    return replace(context, loss=lambda parts, targets: loss(torch.stack(parts, axis), targets))


def reached_by(context: CheckContext, part: Tensor, *, is_cut: bool) -> set[int]:
    """Returns the indices of the parameters that make an output, or one cut from another.

    Args:
        context: of the check.
        part: any shape, with its graph.
        is_cut: it is a part of a larger output, so that a slope of 0 says that it is not reached.
    """
    learning = {n: p for n, p in enumerate(context.model.parameters()) if p.requires_grad}
    slopes = torch.autograd.grad(
        part.square().sum(), list(learning.values()), retain_graph=True, allow_unused=True
    )
    known = {n: slope for n, slope in zip(learning, slopes, strict=True) if slope is not None}
    return {n for n, slope in known.items() if not is_cut or bool(slope.any())}


def _follows(
    context: CheckContext,
    sample: CheckBatch,
    output: Any,
    parts: Sequence[Tensor],
    teacher: int,
    student: int,
) -> bool:
    """Returns whether one part of the output is the other's target, example by example."""
    turned = map_tensors(sample.targets, lambda t: t.roll(1, 0) if t.dim() else t)
    values = [p.detach() for p in parts]

    def slopes(given: Sequence[Tensor], targets: Any) -> tuple[Tensor, Tensor]:
        leaves = [one.clone().requires_grad_() for one in given]
        made = {id(p): leaf for p, leaf in zip(parts, leaves, strict=True)}
        value = context.loss(map_tensors(output, lambda t: made.get(id(t), t)), targets)
        asked = [leaves[teacher], leaves[student]]
        got = torch.autograd.grad(value, asked, allow_unused=True)
        a, b = (torch.zeros_like(x) if g is None else g for x, g in zip(asked, got, strict=True))
        return a, b

    own, of_student = slopes(values, sample.targets)
    size = float(own.norm())
    if size == 0 or float(of_student.norm()) == 0:
        return False
    other, of_other = slopes(values, turned)
    met, _ = slopes([values[student] if n == teacher else v for n, v in enumerate(values)],
                    sample.targets)  # fmt: skip
    half = len(sample) // 2
    mixed = torch.cat([values[student][:half], values[student][half:].flip(0)])
    apart, _ = slopes([mixed if n == student else v for n, v in enumerate(values)], sample.targets)
    reads_targets = float((of_other - of_student).norm()) > _SAME * float(of_student.norm())
    ignored = _is_ignored(context, output, sample.targets, turned)
    return (
        float((other - own).norm()) < _SAME * size
        and float(met.norm()) < 1e-2 * size
        and float((apart - own)[:half].norm()) < _SAME * size
        and (reads_targets or ignored)
    )


def _is_ignored(context: CheckContext, output: Any, targets: Any, turned: Any) -> bool:
    """Returns whether the loss is the same with targets in another order."""
    with torch.no_grad():
        one, other = (float(context.loss(output, given)) for given in (targets, turned))
    return abs(one - other) <= 1e-6 * abs(one)


def _finding(layer: str) -> Finding:
    return Finding(
        severity="warning",
        code="teacher-trained",
        seen=f"the loss compares two outputs, and its gradient reaches {layer}, whose output is "
        "compared with nothing else",
        cause="a teacher (or target network) learns with its student: both agree the soonest where "
        "neither says anything",
        cure="call the teacher under torch.no_grad() or take its output's .detach(), and give the "
        "optimizer the student's parameters alone",
        layer=layer,
    )
