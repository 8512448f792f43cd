"""Columns of an output that depend on the weights, and have no gradient.

A derivative of the network that the loss asks for, such as the residual of an equation, has none
where autograd.grad was called without create_graph: joined to other columns it trains nothing, and
nothing is raised. What joins it to them knows of no graph on its side.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import slope_of
from ravine.core.nested import tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding

_EXAMPLES, _COLUMNS = 16, 64
_JOINS = ("CatBackward", "StackBackward")
_FORMS = ("View", "UnsafeView", "Reshape", "Transpose", "Permute", "T", "Squeeze", "Unsqueeze")
_MOVED = 0.1  # of a weight's deviation, that is added to it
_FOLLOWS = 1e-3  # of a column's deviation, by which it moves then


def find_cut_columns(context: CheckContext) -> Iterator[Finding]:
    """Yields columns of the output (N, K) that the loss reads and that train nothing."""
    sample = context.samples[0].first(_EXAMPLES)
    with preserve_training(context.model, context.optimizer):
        context.model.eval()
        found = tensors_in(context.output(sample))
        out = found[0] if len(found) == 1 else None
        if out is None or out.dim() != 2 or not 1 < out.shape[1] <= _COLUMNS:
            return
        if not _joins_a_constant(out):
            return
        cut = [k for k in range(out.shape[1]) if not _has_gradient(context, out[:, k])]
        if not cut or len(cut) == out.shape[1]:
            return
        cut = [k for k in cut if _follows(context, sample, out.detach(), k)]
    slope = slope_of(context.loss, out, sample.targets)
    cut = [k for k in cut if slope is not None and bool(slope[:, k].any())]
    if cut:
        yield _without_gradient(cut, out.shape[1])


def _joins_a_constant(out: Tensor) -> bool:
    """Returns whether an output was joined from parts of which one has no graph."""
    function = out.grad_fn
    while function is not None and function.name().startswith(_FORMS):
        function = function.next_functions[0][0]
    if function is None or not function.name().startswith(_JOINS):
        return False
    return any(before is None for before, _ in function.next_functions)


def _has_gradient(context: CheckContext, column: Tensor) -> bool:
    weights = [p for p in context.model.parameters() if p.requires_grad]
    found = torch.autograd.grad(column.sum(), weights, retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in found)


def _follows(context: CheckContext, sample: CheckBatch, out: Tensor, column: int) -> bool:
    """Returns whether a column of the outputs (N, K) is another one with other weights."""
    generator = torch.Generator().manual_seed(0)
    with preserve_training(context.model), torch.no_grad():
        for p in context.model.parameters():
            if p.requires_grad and p.numel() > 1:
                p.add_(_MOVED * p.std() * torch.randn(p.shape, generator=generator).to(p))
        (moved,) = tensors_in(context.output(sample))
    change = (moved.detach()[:, column] - out[:, column]).abs().max()
    return bool(change > _FOLLOWS * out[:, column].std())


def _without_gradient(cut: list[int], columns: int) -> Finding:
    named = ", ".join(str(k) for k in cut[:3]) + (", …" if len(cut) > 3 else "")
    return Finding(
        severity="critical",
        code="no-gradient",
        seen=f"output {named} of {columns} (counted from 0) depends on the weights and has no "
        "gradient, and the loss reads it",
        cause="a derivative was taken by autograd.grad without create_graph=True, or a part of the "
        "output was detached",
        cure="pass create_graph=True to each autograd.grad whose result is trained",
        evidence={"columns": float(len(cut)), "of": float(columns)},
    )
