"""How far back a recurrent network sees: the slope of its outputs by what it is given at each step.

A plain recurrence forgets by a factor in each step, so that at the start nothing of a long
sequence's beginning reaches the outputs. It is a fault where the labels depend on that: nearest
neighbours in the whole sequence tell them, and those in what is seen do not.

Shape letters: N examples, T steps, D numbers of a step.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.core.nested import tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import UNSEEN, UNSEEN_TELLS

_EXAMPLES, _FEWEST, _MOST = 16, 128, 1000  # of a batch; labels that decide, and of the probe
_STEPS = 16  # shortest sequence
_NEIGHBOURS = 10


class _Enough(Exception):
    """Ends a forward pass of which enough was seen."""


def check_time_reach(context: CheckContext) -> Iterator[Finding]:
    """Yields a recurrent layer that does not let the steps through which tell the labels."""
    names = [n for n, m in context.model.named_modules() if isinstance(m, nn.RNNBase)]
    if not names or any(one.labels is None for one in context.samples):
        return
    layer = context.model.get_submodule(names[0])
    with preserve_training(context.model):
        context.model.eval()
        slopes = _slopes(context, layer, context.samples[0].first(_EXAMPLES))
        if slopes is None or len(slopes) < _STEPS or not float(slopes.max()) > 0:
            return
        seen = slopes > UNSEEN * slopes.max()
        if float(seen.double().mean()) > 0.5:
            return
        known = [(_given(context, layer, one), one.labels) for one in context.samples]
    pairs = [(x, y) for x, y in known if x is not None and y is not None and len(x) == len(y)]
    if len({x.shape[1:] for x, _ in pairs}) != 1:
        return
    x, y = (torch.cat(part)[:_MOST] for part in zip(*pairs, strict=True))
    if len(y) < _FEWEST or x.shape[1] != len(seen):
        return
    whole, rest = _agreement(x, y), _agreement(x[:, seen], y)
    error = math.sqrt(max(whole * (1 - whole) + rest * (1 - rest), 1e-4) / len(y))
    if whole - rest > max(UNSEEN_TELLS, 3 * error):
        yield _finding(names[0], seen, whole, rest, is_gated=not isinstance(layer, nn.RNN))


def _finding(name: str, seen: Tensor, whole: float, rest: float, *, is_gated: bool) -> Finding:
    """Returns the finding; a note of gates, which learn to keep what they forget at the start."""
    return Finding(
        severity="note" if is_gated else "warning",
        code="vanishing-at-start",
        seen=f"of {len(seen)} steps of the sequence {int(seen.sum())} have a say in the outputs: "
        f"the slope by the others is below {UNSEEN:g} of the largest; nearest neighbours tell "
        f"{whole:.0%} of the labels by the whole sequence, and {rest:.0%} by those steps",
        cause="the recurrence forgets by a factor in each step, and its gradient fades with it",
        cure="take an LSTM or GRU with a forget bias of 1 or more, an identity recurrence "
        "(nn.init.eye_(rnn.weight_hh_l0), nonlinearity='relu') with clipping, shorter sequences "
        "(rows in place of pixels), or the mean of all states",
        layer=name,
        evidence={"seen": float(seen.double().mean()), "whole": whole, "rest": rest},
    )


def _sequence(layer: nn.Module, args: Any) -> Tensor | None:
    """Returns what a recurrent layer is given, (N, T, D); None for anything else."""
    x = args[0] if args else None
    if not isinstance(x, Tensor) or x.dim() != 3 or not x.is_floating_point():
        return None
    return x if getattr(layer, "batch_first", False) else x.transpose(0, 1)


def _slopes(context: CheckContext, layer: nn.Module, sample: CheckBatch) -> Tensor | None:
    """Returns the norm of the outputs' slope by each step of the layer's input, (T,)."""
    held: list[Tensor] = []

    def free(module: nn.Module, args: Any) -> Any:
        if held or _sequence(module, args) is None:
            return None
        held.append(args[0].detach().clone().requires_grad_())
        return (held[0], *args[1:])

    handle = layer.register_forward_pre_hook(free)
    try:
        with torch.enable_grad():
            outs = [t for t in tensors_in(context.output(sample)) if t.is_floating_point()]
        if not held or not outs or not outs[0].requires_grad:
            return None
        drawn = torch.randn(outs[0].shape, generator=torch.Generator().manual_seed(0))
        (slope,) = torch.autograd.grad((outs[0] * drawn.to(outs[0])).sum(), held[0])
    finally:
        handle.remove()
    found = _sequence(layer, (slope,))
    return None if found is None else found.double().square().sum((0, 2)).sqrt().cpu()


def _given(context: CheckContext, layer: nn.Module, sample: CheckBatch) -> Tensor | None:
    """Returns what the layer is given of a batch, (N, T, D); the pass ends there."""
    found: list[Tensor] = []

    def keep(module: nn.Module, args: Any) -> None:
        x = _sequence(module, args)
        if x is not None:
            found.append(x.detach().cpu())
        raise _Enough

    handle = layer.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            context.output(sample)
    except _Enough:
        pass
    finally:
        handle.remove()
    return found[0] if found else None


def _agreement(x: Tensor, labels: Tensor) -> float:
    """Returns the share of examples (N, …) whose label most of their nearest neighbours have."""
    flat = x.double().flatten(1)
    distance = torch.cdist(flat, flat)
    distance.fill_diagonal_(math.inf)
    near = distance.topk(_NEIGHBOURS, largest=False).indices
    labels = labels.cpu()
    votes = torch.nn.functional.one_hot(labels[near], int(labels.max()) + 1).sum(1)
    return float((votes.argmax(1) == labels).double().mean())
