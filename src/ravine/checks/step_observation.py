"""What the user's step really does: gradients, updates, modes and buffers, called from one state.

The step runs until the optimizer has stepped once, twice from the same weights, on one batch;
beside it stands the gradient of the declared loss on that batch. Weights, the optimizer's state
and the random state are put back.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SparseAdam
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.step_record import StepPair, StepRecord, Tensors
from ravine.checks.waiting_gradients import WaitingGradients
from ravine.checks.watched_clipping import watched_clipping
from ravine.core.errors import SettingError
from ravine.core.nested import tensors_in
from ravine.core.preserve_tensors import preserve_tensors
from ravine.core.preserve_training import preserve_optimizer, preserve_training

_CALLS = 32  # of a step that accumulates, until the optimizer must have stepped
_SECONDS = 15.0  # after which no further call is waited for, but for the first _SURELY
_SURELY = 8  # calls that a slow machine makes, too: steps of as many batches together are usual
_PATIENCE = 60.0  # seconds, after which it makes no more of them either
_WARM_UP = 4  # calls in which a learning rate of 0 must rise
_IN_A_ROW = 3  # calls that may move weights beside the optimizer
_TURNS = 6  # steps in a row that reach nothing new, after which none will
_QUICK = 2.0  # seconds of two observations, below which there is a third on another batch


def observe_step(context: CheckContext) -> StepPair | None:
    """Returns what the user's step does; None where none was given.

    Raises:
        SettingError: it raises on a batch.
    """
    if context.step is None:
        return None
    sample, began = context.samples[0], time.monotonic()
    with preserve_training(context.model, context.optimizer):
        first = _observed(context, sample)
        kept = [p.grad for p in context.model.parameters()]
    if first.optimizer is None:
        return StepPair(first=first, second=None, declared={})
    with preserve_training(context.model, context.optimizer):
        for p, gradient in zip(context.model.parameters(), kept, strict=True):
            p.grad = gradient
        second = _observed(context, sample)
    pair = StepPair(
        first=first, second=second, declared=declared_gradient(context, sample, first.modes)
    )
    pair = _with_by_hand(context, pair)
    if time.monotonic() - began >= _QUICK:
        return pair
    return _with_turns(context, _with_another_batch(context, pair))


def run_step(context: CheckContext) -> None:
    """Runs the user's step once on the first batch; what it left in other networks stays."""
    with preserve_training(context.model, context.optimizer):
        _observed(context, context.samples[0])


def _with_by_hand(context: CheckContext, pair: StepPair) -> StepPair:
    """Returns a pair with the weights that the step trains beside the optimizer of the model.

    A copy that follows the network before its step moves in the second call alone, and a critic
    may be trained in some of them.
    """
    own = list(context.model.parameters())
    outer = {id(p) for p in context.measured.leaves} - {id(p) for p in own}
    found = [one for one in (pair.first, pair.second) if one is not None]
    with preserve_training(context.model, context.optimizer):
        for number in range(_IN_A_ROW):
            moved = set().union(*(one.by_hand | one.held for one in found))
            if len(moved) == len(own) and outer <= set().union(*(one.outer for one in found)):
                break
            found.append(_observed(context, context.samples[number % len(context.samples)]))
    return replace(
        pair,
        by_hand=frozenset().union(*(one.by_hand for one in found)),
        outer=frozenset().union(*(one.outer for one in found)),
    )


def _with_turns(context: CheckContext, pair: StepPair) -> StepPair:
    """Returns a pair with what later steps reach, where the first two leave weights out.

    Tasks, networks or layers may take turns from step to step. It ends when all weights that the
    optimizers hold are reached, or several steps in a row reach nothing new.
    """
    wanted = {n for n, p in enumerate(context.model.parameters()) if p.requires_grad}
    wanted &= pair.first.held
    found, idle, began = set(pair.reached), 0, time.monotonic()
    with preserve_training(context.model, context.optimizer):
        while wanted - found and idle < _TURNS and time.monotonic() - began < _QUICK:
            number = (idle + 1) % len(context.samples)
            new = _observed(context, context.samples[number]).reached - found
            found |= new
            idle = 0 if new else idle + 1
    return replace(pair, in_turn=frozenset(found))


def _with_another_batch(context: CheckContext, pair: StepPair) -> StepPair:
    """Returns a pair with the gradient of a step on the second batch, after ones on the first.

    A step that keeps something of the batch before it shows here alone.
    """
    if len(context.samples) < 2 or pair.first.calls > 1:
        return pair
    sample = context.samples[1]
    with preserve_training(context.model, context.optimizer):
        found = _observed(context, sample)
    declared = declared_gradient(context, sample, pair.first.modes)
    return replace(pair, other=(found.gradients, declared), other_fed=found.fed)


def declared_gradient(
    context: CheckContext, sample: CheckBatch, modes: Sequence[bool] = ()
) -> Tensors:
    """Returns the gradient of the declared loss; empty where there is none.

    Args:
        context: of the checks.
        sample: its batch.
        modes: of each module, whether it is in training mode; all of them where it is empty.
    """
    with preserve_training(context.model):
        context.model.train()
        for module, is_training in zip(context.model.modules(), modes, strict=False):
            module.training = is_training
        value = context.value(sample)
        if not value.requires_grad:
            return {}
        value.backward()
        return _gradients(list(context.model.parameters()))


def _gradients(parameters: list[Tensor]) -> dict[int, Tensor]:
    return {
        n: p.grad.detach().to_dense().clone() if p.grad.is_sparse else p.grad.detach().clone()
        for n, p in enumerate(parameters)
        if p.grad is not None
    }


def _observed(context: CheckContext, sample: CheckBatch) -> StepRecord:
    """Calls the user's step until the optimizer has stepped, with a learning rate above 0."""
    parameters: list[Tensor] = list(context.model.parameters())
    before = [p.detach().clone() for p in parameters]
    frozen = _frozen_statistics(context.model)
    record, began, own = StepRecord(), time.monotonic(), {id(p) for p in parameters}
    outer = [p for p in context.measured.leaves if id(p) not in own]
    with ExitStack() as watching:
        moves = watching.enter_context(preserve_tensors(outer))
        _watch(context, parameters, record, watching)
        while _goes_on(record.calls, time.monotonic() - began):
            _call(context, sample, record)
            record.calls += 1
            stepped = record.optimizer is not None
            if stepped and (not record.rests or len(record.learning_rates) >= _WARM_UP):
                break
    is_cut = record.optimizer is None and record.calls < _CALLS
    record.waits = is_cut and any(map(_has_gradient, parameters)) and not record.dropped
    if record.optimizer is not None:
        own = _places(record.optimizer, parameters)
        record.part = own if record.held - own else set()
    pairs = enumerate(zip(before, parameters, strict=True))
    moved = {n for n, (old, p) in pairs if not torch.equal(old, p)}
    record.moved, record.by_hand = bool(moved), moved - record.held
    record.outer |= {id(p) for p, has_moved in zip(outer, moves, strict=True) if has_moved}
    record.drifted = tuple(
        name
        for name, (module, mean) in frozen.items()
        if not torch.equal(module.running_mean, mean)
    )
    return record


def _goes_on(calls: int, seconds: float) -> bool:
    """Returns whether one more call is waited for, after some of them."""
    return calls == 0 or (calls < _CALLS and seconds < (_PATIENCE if calls < _SURELY else _SECONDS))


def _call(context: CheckContext, sample: CheckBatch, record: StepRecord) -> None:
    """Calls the step on a batch, and puts back what it wrote into that."""
    assert context.step is not None
    given = tensors_in((sample.original, sample.inputs, sample.targets))
    clipped: list[int] = []
    try:
        with preserve_tensors(given) as changed, watched_clipping(clipped):
            context.step(sample.original)
    except Exception as error:
        raise SettingError(
            f"step raises on a batch: {type(error).__name__}: {error}; pass a function "
            "that takes one batch as batches gives it, and trains on it"
        ) from error
    record.clips |= bool(clipped)
    record.clips_nothing |= bool(clipped) and not any(clipped)
    record.changed |= any(changed)


def _watch(
    context: CheckContext, parameters: list[Tensor], record: StepRecord, watching: ExitStack
) -> None:
    """Fills a record in while the user's step runs.

    Args:
        context: of the checks.
        parameters: of the model, in its order.
        record: that is filled in.
        watching: at whose end other optimizers than the context's are what they were, too.
    """
    weights: list[Tensor] = []
    seen = {id(context.optimizer)}
    waiting = WaitingGradients()

    def before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        waiting.has_stepped = True
        if id(optimizer) not in seen:
            seen.add(id(optimizer))
            watching.enter_context(preserve_optimizer(optimizer, parameters))
        own = _note_held(record, optimizer, parameters)
        has_closure = any(callable(a) for a in (*args, *kwargs.values()))
        _note_reached(record, own, parameters, has_closure=has_closure)
        if _is_awaited(context, record, optimizer):
            weights[:] = [p.detach().clone() for p in parameters]
            record.gradients = _gradients(parameters)
            record.has_closure = has_closure

    def after_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if _is_awaited(context, record, optimizer):
            _take(record, optimizer, parameters)
        if record.optimizer is optimizer:
            _note_update(record, optimizer, parameters, weights)

    def before_forward(module: nn.Module, inputs: Any) -> None:
        if torch.is_grad_enabled():
            waiting.begin_pass(record, parameters, inputs)
            record.training.append(module.training)
            record.modes = record.modes or tuple(m.training for m in module.modules())

    for hook in (
        *waiting.hooks(parameters, record),
        register_optimizer_step_pre_hook(before_step),
        register_optimizer_step_post_hook(after_step),
        context.model.register_forward_pre_hook(before_forward),
    ):
        watching.callback(hook.remove)


def _is_awaited(context: CheckContext, record: StepRecord, optimizer: Optimizer) -> bool:
    """Returns whether an optimizer is the first to step, or the context's own after others."""
    is_own = optimizer is context.optimizer and record.optimizer is not optimizer
    return record.optimizer is None or is_own


def _take(record: StepRecord, optimizer: Optimizer, parameters: list[Tensor]) -> None:
    """Takes an optimizer that stepped with gradients for the one that is recorded."""
    record.gradients = record.gradients or (_gradients(parameters) if record.has_closure else {})
    if not record.gradients:
        record.without_gradients += 1
        return
    if record.optimizer is not None:  # of another network, which stepped before
        record.learning_rates, record.updates = [], {}
    record.optimizer = optimizer


def _note_reached(
    record: StepRecord, own: set[int], parameters: list[Tensor], *, has_closure: bool
) -> None:
    """Notes which parameters have a gradient, and whether those of an optimizer, `own`, have none.

    An optimizer with a closure computes gradients in its step.
    """
    reached = {n for n, p in enumerate(parameters) if _has_gradient(p)}
    learning = {n for n in own if parameters[n].requires_grad}
    record.reached |= reached
    if reached & own:
        record.starved -= own  # what waited for the backward pass of a call before
    if not has_closure and not reached & own:
        record.starved = record.starved or learning


def _has_gradient(p: Tensor) -> bool:
    return p.grad is not None and bool(p.grad.any())


def _note_held(record: StepRecord, optimizer: Optimizer, parameters: list[Tensor]) -> set[int]:
    """Notes what an optimizer holds, and returns the indices of the parameters among it."""
    own = _places(optimizer, parameters)
    record.held |= own
    record.outer |= _tensors_of(optimizer)
    return own


def _places(optimizer: Optimizer, parameters: list[Tensor]) -> set[int]:
    """Returns the indices of the parameters that an optimizer holds."""
    held = _tensors_of(optimizer)
    return {n for n, p in enumerate(parameters) if id(p) in held}


def _tensors_of(optimizer: Optimizer) -> set[int]:
    """Returns the ids of all that an optimizer holds."""
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _note_update(
    record: StepRecord, optimizer: Optimizer, parameters: list[Tensor], before: list[Tensor]
) -> None:
    """Notes the learning rates of a step, and the first update that is not at a rate of 0."""
    lrs = tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups)
    if len(record.learning_rates) <= record.calls:
        record.learning_rates.append(lrs)
    if not record.updates and any(lrs):
        record.updates = {
            n: p.detach() - old for n, (p, old) in enumerate(zip(parameters, before, strict=True))
        }


def _frozen_statistics(model: nn.Module) -> dict[str, tuple[Any, Tensor]]:
    """Returns the batch norms whose own weights are frozen, with their running means."""
    found: dict[str, tuple[Any, Tensor]] = {}
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if is_norm and own and not any(p.requires_grad for p in own):
            mean = getattr(module, "running_mean", None)
            if mean is not None:
                found[name] = (module, mean.detach().clone())
    return found


def update_of(
    optimizer: Optimizer, model: nn.Module, gradients: Tensors, *, fresh: bool = False
) -> Tensors:
    """Returns what the optimizer would add to each parameter with these gradients.

    Everything is put back.

    Args:
        optimizer: of the model.
        model: any module.
        gradients: by index of the parameter; the others have none.
        fresh: from an empty state, not from the present one.
    """
    with preserve_training(model, optimizer):
        if fresh:
            optimizer.state.clear()
        parameters = list(model.parameters())
        before = [p.detach().clone() for p in parameters]
        as_given = Tensor.to_sparse if isinstance(optimizer, SparseAdam) else Tensor.clone
        for n, p in enumerate(parameters):
            p.grad = as_given(gradients[n]) if n in gradients else None
        optimizer.step()
        return {
            n: p.detach() - old for n, (p, old) in enumerate(zip(parameters, before, strict=True))
        }
