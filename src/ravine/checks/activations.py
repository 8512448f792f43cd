"""Checks of how signals pass through the network at the start: variances, units, symmetry."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ravine.checks.context import Sample, Subject, layer_of
from ravine.findings.finding import Finding
from ravine.findings.thresholds import (
    DEAD,
    EXPLODING,
    FADED,
    FEW_UNITS,
    LARGE_LOGITS,
    SATURATED,
    VANISHING,
)
from ravine.propagation.operations import Operation
from ravine.propagation.recording import Recording
from ravine.propagation.unit_activity import KINDS, Activity, UnitActivity
from ravine.propagation.variance import WEIGHTED, LayerVariance


def check_variances(layers: Sequence[LayerVariance], logits: Tensor | None) -> Iterator[Finding]:
    """Yields signals or gradients that grow or fade on their way through the layers.

    Args:
        layers: the convolutions and linear layers, in the order of the calls.
        logits: (N, K), what the network says, if it is that.
    """
    hidden = layers[:-1]
    std = 0.0 if logits is None else float(logits.detach().double().std())
    forward = _change([layer.forward for layer in hidden])
    backward = _change([layer.backward for layer in reversed(hidden)])
    if not math.isfinite(std) or std > LARGE_LOGITS or max(forward, backward) > EXPLODING:
        yield _exploding(hidden, forward, backward, std)
    elif min(forward, backward) < VANISHING:
        yield _vanishing(hidden, forward, backward)


def _change(values: Sequence[float | None]) -> float:
    """Returns the last over the first variance; 1 where there is nothing to compare."""
    known = [v for v in values if v is not None]
    if len(known) < 2 or known[0] == 0:
        return 1.0
    return known[-1] / known[0] if math.isfinite(known[-1]) else math.inf


def _first_beyond(values: Sequence[float | None], limit: float) -> int:
    """Returns the place of the first value that is beyond `limit` times the first one."""
    start = next((v for v in values if v), 1.0)
    for place, value in enumerate(values):
        ratio = 1.0 if value is None else value / start
        if not math.isfinite(ratio) or (ratio > limit if limit > 1 else ratio < limit):
            return place
    return len(values) - 1


def _exploding(
    hidden: Sequence[LayerVariance], forward: float, backward: float, std: float
) -> Finding:
    ahead = forward >= backward or not hidden
    values = [layer.forward if ahead else layer.backward for layer in hidden]
    order = list(hidden) if ahead else list(reversed(hidden))
    place = _first_beyond(values if ahead else values[::-1], EXPLODING**0.25) if hidden else 0
    what = "activations" if ahead else "gradients on their way back"
    return Finding(
        severity="critical" if not std <= 100 * LARGE_LOGITS else "warning",
        code="exploding-at-start",
        seen=f"the variance of {what} grows {max(forward, backward):.3g} times through "
        f"{len(hidden)} layers, and the logits have a standard deviation of {std:.3g}",
        cause="the initial weights are too large for this depth and activation",
        cure="take He initial weights (ravine.nn.init_(model, 'he')), LSUV, or normalisation",
        layer=order[place].layer if hidden else None,
        evidence={"forward": forward, "backward": backward, "logits_std": std},
        changes={"init": "he"},
    )


def _vanishing(hidden: Sequence[LayerVariance], forward: float, backward: float) -> Finding:
    ahead = forward <= backward
    values = [layer.forward if ahead else layer.backward for layer in hidden]
    order = list(hidden) if ahead else list(reversed(hidden))
    place = _first_beyond(values if ahead else values[::-1], VANISHING**0.25)
    what = "activations" if ahead else "gradients on their way back"
    return Finding(
        severity="warning",
        code="vanishing-at-start",
        seen=f"the variance of {what} falls to {min(forward, backward):.2g} of what it was through "
        f"{len(hidden)} layers",
        cause="the initial weights are too small for this depth, or the activation has a small "
        "slope (sigmoid: at most 1/4 a layer)",
        cure="take ReLU with He initial weights (ravine.nn.init_(model, 'he')), or normalisation",
        layer=order[place].layer,
        evidence={"forward": forward, "backward": backward},
        changes={"init": "he"},
    )


def inputs_faded(recording: Recording) -> list[bool]:
    """Returns of each activation whether the variance before it is next to nothing.

    It is compared with the first layer that has weights.
    """
    operations = recording.operations
    first = next((_over_batch(op) for op in operations if op.name in WEIGHTED), math.nan)
    calls = [op for op in operations if op.name in KINDS]
    return [_over_batch(operations[op.sources[0]]) < FADED * first for op in calls]


def _over_batch(op: Operation) -> float:
    """Returns the variance over the batch alone: what biases add between units tells nothing."""
    return math.nan if op.signal is None else float(op.signal.var.mean())


def look_at_units(subject: Subject, sample: Sample) -> list[UnitActivity]:
    """Returns the activity of each activation, and leaves the random state to the caller."""
    activity = Activity(subject.model)
    with activity.watching(), torch.no_grad():
        subject.output(sample)
    return activity.found


def check_units(found: Sequence[UnitActivity], faded: Sequence[bool]) -> Iterator[Finding]:
    """Yields the first layer with many dead and the first with many saturated units.

    Args:
        found: activations in the order of the calls.
        faded: whether what goes into each had faded before: then its units are not the cause.
    """
    for one, lost in zip(found, faded, strict=True):
        if one.dead > DEAD and one.units >= FEW_UNITS and not lost:
            yield Finding(
                severity="critical" if one.dead > 0.9 else "warning",
                code="dead-units",
                seen=f"{one.dead:.0%} of the {one.units} ReLU units are 0 on every example",
                cause="their biases or weights keep the sum below 0, so that they get no gradient",
                cure="start biases at 0 with He initial weights, or take leaky ReLU; if it "
                "happens in training, lower the rate",
                layer=one.layer,
                evidence={"dead": one.dead, "units": one.units},
                changes={"init": "he"},
            )
            break
    for one in found:
        if one.saturated > SATURATED:
            yield Finding(
                severity="warning",
                code="saturated-units",
                seen=f"{one.saturated:.0%} of values of {one.kind} lie at an end of its range",
                cause=f"what goes into {one.kind} is too large, and its slope there is nearly 0",
                cure="take smaller initial weights (Xavier for tanh), scale the inputs, or put a "
                "normalisation before it",
                layer=one.layer,
                evidence={"saturated": one.saturated},
                changes={"init": "xavier"},
            )
            break


def check_symmetry(model: nn.Module) -> Iterator[Finding]:
    """Yields the first layer whose units all have the same weights."""
    for name, weight in model.named_parameters():
        if weight.dim() < 2 or len(weight) < 2 or not name.endswith("weight"):
            continue
        flat = weight.detach().flatten(1)
        if bool((flat == flat[:1]).all()) and bool(flat.any()):
            yield Finding(
                severity="critical",
                code="symmetric-weights",
                seen=f"all {len(flat)} units of {layer_of(model, weight)} have the same weights",
                cause="they were set to a constant, so that all of them stay the same for ever",
                cure="draw the weights by chance: ravine.nn.init_(model, 'he')",
                layer=layer_of(model, weight),
                evidence={"units": len(flat)},
                changes={"init": "he"},
            )
            return
