"""Gradients of another network's loss that are left in a network, and are stepped on with its own.

    maker: loss.backward() goes through the judge as well; the maker's optimizer steps
    judge: loss.backward() adds to what is left there; the judge's optimizer steps

It is seen as it happens: a gradient arrives where one of an earlier pass stands, another optimizer
has stepped between, and the sum is what is stepped on. Where both point apart, neither is followed.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from ravine.checks.context import CheckContext
from ravine.checks.step_record import StepPair, Tensors, inner, norm
from ravine.core.nested import tensors_in
from ravine.core.preserve_tensors import preserve_tensors
from ravine.core.preserve_training import preserve_optimizer, preserve_training
from ravine.findings.finding import Finding

_CALLS = 3  # of the step
_OPPOSED = -0.05  # cosine of what is left and what arrives
_COUNTS = 0.05  # of the length of what arrives


@final
@dataclass(slots=True)
class _Arrivals:
    """What arrives at parameters, by their index, between two steps of the optimizer that has them.

    Attributes:
        waiting: parameters with a gradient since that optimizer's step.
        crossed: those of them for which another optimizer has stepped since.
        left: gradients that stood there when the next one arrived; and those, in `arrived`.
        stepped: pairs of both that an optimizer has stepped on.
        steps: how often each parameter was stepped.
    """

    waiting: set[int] = field(default_factory=set)
    crossed: set[int] = field(default_factory=set)
    left: dict[int, Tensor] = field(default_factory=dict)
    arrived: dict[int, Tensor] = field(default_factory=dict)
    stepped: list[tuple[Tensors, Tensors]] = field(default_factory=list)
    steps: dict[int, int] = field(default_factory=dict)

    def arrives(self, n: int, parameter: Tensor, gradient: Tensor) -> None:
        """Notes a gradient that is about to be added to that of a parameter, of any one shape."""
        old = parameter.grad
        if n in self.crossed and old is not None and not old.is_sparse and bool(old.any()):
            self.left.setdefault(n, old.detach().clone())
            self.arrived[n] = gradient.detach().clone()
        self.waiting.add(n)
        self.crossed.discard(n)

    def steps_on(self, held: set[int]) -> None:
        """Notes a step of an optimizer that holds some of the parameters."""
        left = {n: g for n, g in self.left.items() if n in held}
        if left:
            self.stepped.append((left, {n: self.arrived[n] for n in left}))
        for n in held:
            self.left.pop(n, None)
            self.steps[n] = self.steps.get(n, 0) + 1
        self.waiting -= held
        self.crossed = (self.crossed | self.waiting) - held


def find_leaked(context: CheckContext, pair: StepPair) -> Iterator[Finding]:
    """Yields gradients of another optimizer's loss that this one steps on as well.

    Args:
        context: of the checks.
        pair: what the step was seen to do.
    """
    own = {id(p) for p in context.model.parameters()}
    if not pair.first.part and not pair.first.outer - own:
        return  # one optimizer
    seen = _watched(context)
    often = {n for n, count in seen.steps.items() if count >= _CALLS}
    for left, arrived in seen.stepped:
        length = norm(left) * norm(arrived)
        if not length or not left.keys() <= often:
            continue  # what is stepped once in several calls gathers gradients on purpose
        alike = inner(left, arrived) / length
        if norm(left) > _COUNTS * norm(arrived):
            yield _leaked(context, left, alike, norm(left) / norm(arrived))
            return


def _watched(context: CheckContext) -> _Arrivals:
    """Calls the step some times; what an exception leaves out is left out."""
    assert context.step is not None
    parameters, found = list(context.model.parameters()), _Arrivals()
    indices = {id(p): n for n, p in enumerate(parameters)}
    kept = {id(context.optimizer)}
    with ExitStack() as watching:
        watching.enter_context(preserve_training(context.model, context.optimizer))

        def before_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
            if id(optimizer) not in kept:
                kept.add(id(optimizer))
                watching.enter_context(preserve_optimizer(optimizer, parameters))
            held = (id(p) for group in optimizer.param_groups for p in group["params"])
            found.steps_on({indices[one] for one in held if one in indices})

        for n, p in enumerate(parameters):
            if p.requires_grad and p.is_leaf:
                watching.callback(p.register_hook(_noting(found, n, p)).remove)
        watching.callback(register_optimizer_step_pre_hook(before_step).remove)
        for call in range(_CALLS):
            sample = context.samples[call % len(context.samples)]
            given = tensors_in((sample.original, sample.inputs, sample.targets))
            with preserve_tensors(given):
                context.step(sample.original)
    return found


def _noting(found: _Arrivals, n: int, parameter: Tensor) -> Any:
    return lambda gradient: found.arrives(n, parameter, gradient)


def _leaked(context: CheckContext, left: Tensors, alike: float, size: float) -> Finding:
    names = [name for n, (name, _) in enumerate(context.model.named_parameters()) if n in left]
    return Finding(
        severity="critical" if alike < _OPPOSED else "warning",
        code="gradients-not-cleared",
        seen=f"{len(left)} parameters ({', '.join(names[:2])}{', …' if len(names) > 2 else ''}) "
        "are stepped on the sum of their own gradient and of one that another network's backward() "
        f"left there, {size:.2g} times as long (cosine {alike:.2f})",
        cause="the other network's loss goes through this one, and its gradients are not cleared "
        "before this one's backward()",
        cure="call zero_grad() of each optimizer just before the backward() that it steps on, or "
        "set requires_grad to False for the other's pass",
        layer=names[0].rpartition(".")[0] or names[0],
        evidence={"cosine": alike, "size": size},
    )
