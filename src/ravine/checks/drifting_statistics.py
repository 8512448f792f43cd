"""Frozen batch norms whose running statistics a step moves on, and whether that changes anything.

Statistics that follow other images than the frozen layers were trained on make another network of
them. Where the batches have the statistics that the norms hold already, they stay where they are.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.context import CheckContext
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import SAME_STATISTICS


def check_drifting(context: CheckContext) -> Iterator[Finding]:
    """Yields batch norms whose weights are frozen and whose statistics a step changes."""
    drifted = _drifted(context)
    if not drifted:
        return
    apart = _apart(context, drifted)
    is_same = apart < SAME_STATISTICS
    yield Finding(
        severity="note" if is_same else "warning",
        code="frozen-statistics-drift",
        seen=f"{len(drifted)} batch norms have frozen weights, and a step still changes "
        "their running statistics; those of a batch are "
        + (f"the same (divergence {apart:.2g})" if is_same else f"others (divergence {apart:.2g})"),
        cause="requires_grad_(False) does not stop them: they follow the batches in training mode"
        + (
            ", which are what the frozen part was trained on"
            if is_same
            else ", so that the frozen part is not what it was trained as"
        ),
        cure="call .eval() on the frozen part after model.train()",
        layer=drifted[0],
        evidence={"norms": float(len(drifted)), "divergence": apart},
    )


def _drifted(context: CheckContext) -> tuple[str, ...]:
    """Returns the frozen norms whose statistics the step moves, and whose weights it leaves."""
    pair = context.measured.steps
    if pair is None:
        return ()
    parameters = list(context.model.parameters())
    moved = {id(parameters[n]) for n in pair.by_hand}

    def follows(name: str) -> bool:
        own = context.model.get_submodule(name).parameters(recurse=False)
        return any(id(p) in moved for p in own)

    return tuple(name for name in pair.first.drifted if not follows(name))


def _apart(context: CheckContext, names: tuple[str, ...]) -> float:
    """Returns how far the statistics of a batch are from the running ones, in the norm farthest.

    The Kullback-Leibler divergence of two normal distributions, in nats, the mean over channels;
    what a batch of this size differs by chance is taken off.
    """
    sample, found = context.samples[0], list[float]()

    def measure(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        found.append(divergence(inputs[0].detach().double(), norm))

    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        norms = [m for name in names if isinstance(m := context.model.get_submodule(name), _NORMS)]
        handles = [norm.register_forward_pre_hook(measure) for norm in norms]
        try:
            context.output(sample)
        finally:
            for handle in handles:
                handle.remove()
    return max(found, default=float("inf")) - 1 / max(1, len(sample))


_NORMS = nn.modules.batchnorm._BatchNorm


def divergence(x: Tensor, norm: Any) -> float:
    """Returns that of inputs (N, C, …) from the running statistics of a norm."""
    flat = x.transpose(0, 1).flatten(1)
    mean, var = norm.running_mean.double(), norm.running_var.double().clamp_min(1e-12)
    ratio = flat.var(1).clamp_min(1e-12) / var
    shift = (flat.mean(1) - mean).square() / var
    return float((0.5 * (ratio - 1 - ratio.log() + shift)).mean())
