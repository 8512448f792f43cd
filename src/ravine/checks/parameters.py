"""Checks of a network's parameters: known to it, and each layer used for one thing."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.core.nested import tensors_in
from ravine.findings.finding import Finding


def check_shared(context: CheckContext) -> Iterator[Finding]:
    """Yields layers that stand in the network under several names."""
    names: dict[int, list[str]] = {}
    for name, module in context.model.named_modules(remove_duplicate=False):
        if any(True for _ in module.parameters(recurse=False)):
            names.setdefault(id(module), []).append(name)
    shared = [found for found in names.values() if len(found) > 1]
    if shared:
        most = max(shared, key=len)
        same = _same_columns(context)
        yield Finding(
            severity="note" if same is None else "warning",
            code="shared-parameters",
            seen=f"one layer stands at {len(most)} positions ({', '.join(most[:4])}"
            + (", …)" if len(most) > 4 else ")")
            + (f", and {len(shared) - 1} more are shared" if len(shared) > 1 else "")
            + ("" if same is None else f"; the {same} outputs of an example are all the same"),
            cause="[layer] * n repeats one object and makes no copies; weights may also be shared "
            "on purpose",
            cure="make each layer anew: [make_layer() for _ in range(n)]",
            layer=most[0],
            evidence={"positions": float(len(most)), "layers": float(len(shared))},
        )


def _same_columns(context: CheckContext) -> int | None:
    """Returns the number of outputs of an example, where all are one number and targets are not."""
    out, targets = context.measured.output, context.samples[0].targets
    if out is None or not isinstance(targets, Tensor) or out.dim() < 2 or out.shape[1] < 2:
        return None
    if not bool((out == out[:, :1]).all()) or not bool((out != out[:1]).any()):
        return None
    wanted = targets.shape[1:2] == out.shape[1:2] and bool((targets != targets[:, :1]).any())
    is_label = targets.dim() == 1 and not targets.is_floating_point()
    return out.shape[1] if wanted or is_label else None


def check_registered(context: CheckContext) -> Iterator[Finding]:
    """Yields weights that the loss depends on and that neither network nor optimizer hold.

    Those that the user's step trains by itself, as of a second network with its optimizer, are not
    missing.
    """
    sample, steps = context.samples[0], context.measured.steps
    known = {id(p) for p in context.model.parameters()}
    known |= set() if steps is None else steps.outer
    if context.optimizer is not None:
        known |= {id(p) for group in context.optimizer.param_groups for p in group["params"]}
    known |= {id(t) for t in tensors_in((sample.inputs, sample.targets))}
    unknown = [
        p
        for p in context.measured.leaves
        if id(p) not in known and not _is_of_inputs(p, sample.inputs)
    ]
    if unknown:
        numbers = sum(p.numel() for p in unknown)
        of = numbers + sum(p.numel() for p in context.model.parameters() if p.requires_grad)
        shapes = ", ".join(str(tuple(p.shape)) for p in unknown[:3])
        yield Finding(
            severity="warning",
            code="parameters-not-registered",
            seen=f"{len(unknown)} weights that the loss depends on are not among "
            f"model.parameters(), nor in the optimizer: {shapes}"
            + (" …" if len(unknown) > 3 else ""),
            cause="layers lie in a Python list or dictionary, or tensors are no nn.Parameter of a "
            "module, so that they never train, move to a device or get saved",
            cure="put them into nn.ModuleList, nn.ModuleDict or nn.ParameterList",
            evidence={"weights": float(len(unknown)), "share": numbers / max(1, of)},
        )


def _is_of_inputs(leaf: Tensor, inputs: Any) -> bool:
    """Returns whether a tensor is a copy of inputs, or of some of their columns.

    Whoever differentiates by inputs (an equation as a loss, a penalty of gradients) makes one.
    """
    return any(
        t.is_floating_point()
        and t.dim() > 0
        and t.shape[:1] == leaf.shape[:1]
        and leaf.numel() <= t.numel()
        and bool(torch.isin(leaf.detach(), t).all())
        for t in tensors_in(inputs)
    )


def make_dense_(parameters: Iterable[Tensor]) -> None:
    """Makes sparse gradients of parameters (any shape) dense, for optimizers that need them so."""
    for p in parameters:
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.to_dense()


def leaves_of(loss: Tensor) -> list[Tensor]:
    """Returns the tensors, of any shape, at the ends of the graph of a loss (0-dim)."""
    waiting, seen, found = [loss.grad_fn], set[object](), list[Tensor]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor) and variable.is_leaf:
            found.append(variable)
        waiting += [following for following, _ in node.next_functions]
    return found
