"""One call of the user's step that is watched closely: torch's losses, and other networks.

It runs after the step was observed, so that what the watching disturbs breaks nothing.

Shape letters: N examples, K classes.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

from ravine.checks.broadcast_terms import Operations
from ravine.checks.context import CheckContext
from ravine.checks.step_record import Witness
from ravine.core.nested import tensors_in
from ravine.core.preserve_state import preserve_state
from ravine.core.preserve_tensors import preserve_tensors
from ravine.core.preserve_training import preserve_optimizer, preserve_training

_OF_LOGARITHMS = ("kl_div", "nll_loss")
_NUMBERS = 256  # of each parameter, that tell whether it was changed
_ONE = 1e-3  # of a sum of probabilities


@final
class GivenToLosses(TorchFunctionMode):
    """Names the losses of log-probabilities that are given probabilities with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        name = next((one for one in _OF_LOGARITHMS if one in getattr(func, "__name__", "")), "")
        first = args[0] if args else given.get("input")
        if not name or not isinstance(first, Tensor) or not first.requires_grad:
            return func(*args, **given)
        if _are_probabilities(first.detach(), over_last=name == "kl_div"):
            self.names.append(name)
        return func(*args, **given)


def _are_probabilities(rows: Tensor, *, over_last: bool) -> bool:
    """Returns whether rows (N, K, …), or (…, K), have no number below 0 and sum to 1."""
    if rows.dim() < 1 or not rows.is_floating_point() or not bool((rows >= 0).all()):
        return False
    axes = {min(1, rows.dim() - 1), *([rows.dim() - 1] if over_last else [])}
    return any(
        rows.shape[axis] > 1 and bool(((rows.sum(axis) - 1).abs() < _ONE).all()) for axis in axes
    )


def witness_step(context: CheckContext) -> Witness:
    """Returns what one call of the step did; empty without a step, or where it raises."""
    pair = context.measured.steps
    if context.step is None or pair is None:
        return Witness()
    sample = context.samples[0]
    given = tensors_in((sample.original, sample.inputs, sample.targets))
    calls, losses = list[tuple[nn.Module, Any]](), GivenToLosses()
    operations = Operations(len(sample))
    kept = ExitStack()
    held = set[int]()
    try:
        with (
            preserve_training(context.model, pair.first.optimizer or context.optimizer),
            preserve_tensors(given),
            kept,
            _hooks(context, calls, held, kept),
            losses,
            operations,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of hooks around compiled modules
            context.step(sample.original)
            resting = [(m, args) for m, args in calls if _rests(m, held, before=args[1])]
    except Exception:  # the user's step, which ran before without being watched so closely
        return Witness()
    others = tuple((m, args[0]) for m, args in resting)
    return Witness(
        given_probabilities=tuple(losses.names), others=others, broadcast=operations.broadcast()
    )


@contextmanager
def _hooks(
    context: CheckContext, calls: list[tuple[nn.Module, Any]], held: set[int], kept: ExitStack
) -> Iterator[None]:
    """Notes passes of other networks without gradient, and the weights of optimizers that step.

    Args:
        context: of the checks.
        calls: is filled with networks, the arguments of their first pass and their weights.
        held: is filled with the ids of weights.
        kept: at whose end those networks, and other optimizers, are what they were.
    """
    own = {id(m) for m in context.model.modules()}
    seen, stepped = set[int](), {id(context.optimizer)}

    def before_pass(module: nn.Module, args: Any) -> None:
        if id(module) in own or id(module) in seen or next(module.parameters(), None) is None:
            return
        seen.update(id(part) for part in module.modules())
        if any(id(part) in own for part in module.modules()) or _learns(module):
            return
        kept.enter_context(preserve_state(module))
        calls.append((module, (args, _some_weights(module))))

    def before_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        held.update(id(p) for group in optimizer.param_groups for p in group["params"])
        if id(optimizer) not in stepped:
            stepped.add(id(optimizer))
            kept.enter_context(preserve_optimizer(optimizer))

    handles = [
        register_module_forward_pre_hook(before_pass),
        register_optimizer_step_pre_hook(before_step),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _learns(module: nn.Module) -> bool:
    return torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters())


def _rests(module: nn.Module, held: set[int], *, before: list[Tensor]) -> bool:
    """Returns whether no optimizer holds weights of a network, and the step changed none."""
    is_held = any(id(p) in held for p in module.parameters())
    return not is_held and all(map(torch.equal, _some_weights(module), before))


def _some_weights(module: nn.Module) -> list[Tensor]:
    """Returns copies of some numbers of each parameter, (n,)."""
    return [p.detach().reshape(-1)[:_NUMBERS].clone() for p in module.parameters()]
