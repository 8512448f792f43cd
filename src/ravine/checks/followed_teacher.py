"""A network that a step's loss takes its targets from, and that learns by nothing else.

A teacher or target network whose output is not detached, and which the optimizer holds, comes to
meet its student. It is seen where torch's losses are called: input and target have gradients, by
weights of which they share none. Whether another loss holds the teacher is tried: the step once
more, with that target detached. A table of centres, one tensor, is no network.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

from ravine.checks.context import CheckContext, layer_of
from ravine.checks.parameters import leaves_of
from ravine.core.nested import tensors_in
from ravine.core.preserve_tensors import preserve_tensors
from ravine.core.preserve_training import preserve_optimizer, preserve_training
from ravine.findings.finding import Finding

_LOSSES = ("kl_div", "mse_loss", "cross_entropy", "smooth_l1_loss", "l1_loss", "huber_loss")
_A_NETWORK = 2  # tensors of weights


@final
class _Targets(TorchFunctionMode):
    """Notes the weights that make the targets of losses, and may detach these."""

    def __init__(self, *, detaches: bool) -> None:
        super().__init__()
        self.detaches = detaches
        self.teachers = list[list[Tensor]]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") not in _LOSSES:
            return func(*args, **given)
        one: Any = args[0] if args else given.get("input")
        other: Any = args[1] if len(args) > 1 else given.get("target")
        if not _learn(one, other):
            return func(*args, **given)
        of_target, of_input = _weights(other), _weights(one)
        if _share(of_target, of_input):  # both may be cut from one tensor
            of_target, of_input = _moving(other, of_target), _moving(one, of_input)
        if len(of_target) >= _A_NETWORK and not _share(of_target, of_input):
            self.teachers.append(of_target)
            if self.detaches and len(args) > 1:
                args = (one, other.detach(), *args[2:])
            elif self.detaches:
                given["target"] = other.detach()
        return func(*args, **given)


def find_followed_teacher(context: CheckContext) -> Iterator[Finding]:
    """Yields a network whose weights learn as targets of the step's losses alone."""
    pair = context.measured.steps
    if pair is None or pair.first.calls > 1 or pair.first.has_closure:
        return
    own = {id(p) for p in context.model.parameters()}
    for teacher in _trained(context):
        names = {id(p) for p in teacher}
        if names <= own and not _reached(context, names):
            yield _finding(layer_of(context.model, teacher[0]))
            return


def _learn(*given: Any) -> bool:
    return all(isinstance(one, Tensor) and one.requires_grad for one in given)


def _weights(made: Tensor) -> list[Tensor]:
    """Returns the tensors, of any shape, at the ends of the graph of one of any shape."""
    return [made] if made.is_leaf else leaves_of(made)


def _share(some: list[Tensor], others: list[Tensor]) -> bool:
    """Returns whether two lists of tensors, of any shape, have one in common."""
    return bool({id(p) for p in some} & {id(p) for p in others})


def _moving(made: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """Returns the weights, of any shape, by which a tensor of any shape has a slope."""
    learning = [p for p in weights if p.requires_grad]
    value = made.float().square().sum()
    slopes = torch.autograd.grad(value, learning, retain_graph=True, allow_unused=True)
    pairs = zip(learning, slopes, strict=True)
    return [p for p, slope in pairs if slope is not None and bool(slope.any())]


def _trained(context: CheckContext) -> list[list[Tensor]]:
    """Returns the teachers of which an optimizer that stepped held weights with a gradient."""
    targets, moved = _Targets(detaches=False), set[int]()
    _run(context, targets, moved)
    return [one for one in targets.teachers if any(id(p) in moved for p in one)]


def _reached(context: CheckContext, weights: set[int]) -> bool:
    """Returns whether weights, by their ids, still learn where the targets are detached."""
    targets, moved = _Targets(detaches=True), set[int]()
    _run(context, targets, moved)
    return not targets.teachers or bool(weights & moved)


def _run(context: CheckContext, targets: _Targets, moved: set[int]) -> None:
    """Runs the step once, and puts back what it changes; `moved` is filled with ids of weights."""
    assert context.step is not None
    assert context.measured.steps is not None
    sample = context.samples[0]
    given = tensors_in((sample.original, sample.inputs, sample.targets))
    own = context.measured.steps.first.optimizer or context.optimizer
    seen, kept = {id(own)}, ExitStack()

    def before_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        held = [p for group in optimizer.param_groups for p in group["params"]]
        if id(optimizer) not in seen:
            seen.add(id(optimizer))
            kept.enter_context(preserve_optimizer(optimizer, context.model.parameters()))
        moved.update(id(p) for p in held if p.grad is not None and bool(p.grad.any()))

    handle = register_optimizer_step_pre_hook(before_step)
    try:
        with preserve_training(context.model, own), preserve_tensors(given), kept, targets:
            context.step(sample.original)
    except Exception:  # the user's step, which ran before without being watched so closely
        targets.teachers.clear()
    finally:
        handle.remove()


def _finding(layer: str) -> Finding:
    return Finding(
        severity="warning",
        code="teacher-trained",
        seen=f"the step's loss takes its target from {layer}, and its gradient trains that network "
        "as well; with the target detached nothing does",
        cause="a teacher (or target network) learns with its student: both agree the soonest where "
        "neither says anything",
        cure="call the teacher under torch.no_grad() or take its output's .detach(), and give the "
        "optimizer the student's parameters alone",
        layer=layer,
    )
