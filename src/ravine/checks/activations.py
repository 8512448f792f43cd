"""Checks of the signals at the start: variances layer by layer, units, symmetric weights."""

import math
from collections.abc import Iterator, Sequence

from ravine.checks.context import CheckContext, layer_of
from ravine.checks.example_differences import check_differences
from ravine.checks.logits_limit import are_cosines
from ravine.checks.time_reach import check_time_reach
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
from ravine.findings.variance_change import change_of
from ravine.propagation.operations import Operation
from ravine.propagation.recording import Recording
from ravine.propagation.unit_activity import KINDS, UnitActivity
from ravine.propagation.variance import WEIGHTED, LayerVariance, VarianceProfile

_AVERAGES = ("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AvgPool2d", "mean")
_SUMS = ("add", "iadd", "radd")  # kinds of operations, as a recording names them


def check_variances(context: CheckContext) -> Iterator[Finding]:
    """Yields activations or gradients whose variance grows or falls through the layers."""
    profile, logits = context.measured.variance, context.measured.logits
    hidden = profile.weighted[:-1] if profile is not None else ()
    std = 0.0 if logits is None else float(logits.detach().double().std())
    forward = change_of([layer.forward for layer in hidden])
    backward = change_of([layer.backward for layer in reversed(hidden)])
    arriving = max(forward, _arriving(profile) if profile is not None else 1.0)
    backward /= _spread(profile) if profile is not None else 1.0
    growing = min(backward, _along_the_stream(profile) if profile is not None else backward)
    is_large = std > LARGE_LOGITS and not are_cosines(context)
    if not math.isfinite(std) or is_large or max(forward, growing) > EXPLODING:
        yield _exploding(hidden, forward, growing, std)
    elif min(arriving, backward) < VANISHING:
        yield _vanishing(hidden, arriving, backward)
    else:
        found = list(check_differences(context))
        yield from found or check_time_reach(context)


def _spread(profile: VarianceProfile) -> float:
    """Returns by what averages over places lower the gradients' variance between hidden layers.

    One that is spread over places is not lost: each place has its part in the same weights.
    """
    weighted = [n for n, layer in enumerate(profile.layers) if layer.weighted][:-1]
    found, layers = 1.0, profile.layers
    for n in range(weighted[0] + 1, weighted[-1]) if weighted else ():
        before, after = layers[n - 1].backward, layers[n].backward
        if layers[n].kind in _AVERAGES and before and after:
            found *= min(1.0, before / after)
    return found


def _arriving(profile: VarianceProfile) -> float:
    """Returns the variance of what the last layer is given over that of the first layer's output.

    In a network with shortcuts it is that of the stream, however little the last branch adds.
    """
    weighted = [n for n, layer in enumerate(profile.layers) if layer.weighted]
    if len(weighted) < 2:
        return 1.0
    return change_of(
        [profile.layers[weighted[0]].forward, profile.layers[weighted[-1] - 1].forward]
    )


def _along_the_stream(profile: VarianceProfile) -> float:
    """Returns by what the gradients' variance grows from the last sum of a shortcut to the start.

    A branch that begins small, as with a layer scale, has small gradients and makes none large.
    Infinity without shortcuts.
    """
    layers = profile.layers
    weighted = [n for n, layer in enumerate(layers) if layer.weighted]
    sums = [one for one in layers[: weighted[-1]] if one.kind in _SUMS] if weighted else []
    return change_of([sums[-1].backward, layers[weighted[0]].backward]) if sums else math.inf


def _first_beyond(hidden: Sequence[LayerVariance], limit: float, *, forward: bool) -> str:
    """Returns the first layer, in the order of the pass, whose variance is beyond a limit.

    Args:
        hidden: layers in the order of the calls, at least one.
        limit: times the first variance that is not 0; above 1 an upper limit, else a lower one.
        forward: variances of the outputs; else of their gradients, from the last layer on.
    """
    order = list(hidden) if forward else list(reversed(hidden))
    variances = [layer.forward if forward else layer.backward for layer in order]
    start = next((v for v in variances if v), 1.0)
    for layer, variance in zip(order, variances, strict=True):
        ratio = 1.0 if variance is None else variance / start
        if not math.isfinite(ratio) or (ratio > limit if limit > 1 else ratio < limit):
            return layer.layer
    return order[-1].layer


def _exploding(
    hidden: Sequence[LayerVariance], forward: float, backward: float, std: float
) -> Finding:
    is_forward = forward >= backward or not hidden
    layer = _first_beyond(hidden, EXPLODING**0.25, forward=is_forward) if hidden else None
    return Finding(
        severity="critical" if not std <= 100 * LARGE_LOGITS else "warning",
        code="exploding-at-start",
        seen=f"the variance of {_signal(is_forward)} grows {max(forward, backward):.3g} times "
        f"through {len(hidden)} layers, and the logits have a standard deviation of {std:.3g}",
        cause="the initial weights are too large for this depth and activation",
        cure="take He initial weights (ravine.nn.init_(model, 'he')), LSUV, or normalisation",
        layer=layer,
        evidence={"forward": forward, "backward": backward, "logits_std": std},
        changes={"init": "he"},
    )


def _vanishing(hidden: Sequence[LayerVariance], forward: float, backward: float) -> Finding:
    is_forward = forward <= backward
    return Finding(
        severity="warning",
        code="vanishing-at-start",
        seen=f"the variance of {_signal(is_forward)} falls by the factor "
        f"{min(forward, backward):.2g} through {len(hidden)} layers",
        cause="the initial weights are too small for this depth, or the activation has a small "
        "slope (sigmoid: at most 1/4 a layer)",
        cure="take ReLU with He initial weights (ravine.nn.init_(model, 'he')), or normalisation",
        layer=_first_beyond(hidden, VANISHING**0.25, forward=is_forward),
        evidence={"forward": forward, "backward": backward},
        changes={"init": "he"},
    )


def _signal(forward: bool) -> str:
    return "activations" if forward else "gradients in the backward pass"


def inputs_faded(recording: Recording) -> tuple[bool, ...]:
    """Returns of each activation whether its input has next to no variance.

    It is compared with the output of the first layer that has weights.
    """
    operations = recording.operations
    first = next((_variance_over_batch(op) for op in operations if op.name in WEIGHTED), math.nan)
    calls = [op for op in operations if op.name in KINDS]
    return tuple(_variance_before(operations, op) <= FADED * first for op in calls)


def _variance_before(operations: Sequence[Operation], op: Operation) -> float:
    """Returns the variance over the batch of what an operation reads, whatever reshaped it."""
    source = operations[op.sources[0]]
    while source.signal is None and source.sources:
        source = operations[source.sources[0]]
    return _variance_over_batch(source)


def _variance_over_batch(op: Operation) -> float:
    """Returns the mean variance over the batch; differences between units, of biases, are out."""
    return math.nan if op.signal is None else float(op.signal.var.mean())


def check_units(context: CheckContext) -> Iterator[Finding]:
    """Yields the first layer with many dead and the first with many saturated units.

    Units whose input has faded are not the cause, and not named.
    """
    units, faded = context.measured.units, context.measured.faded
    dead = [
        one
        for one, has_faded in zip(units, faded, strict=True)
        if one.dead > DEAD and one.units >= FEW_UNITS and not has_faded
    ]
    saturated = [one for one in units if one.saturated > SATURATED]
    yield from map(_dead, dead[:1])
    yield from map(_saturated, saturated[:1])


def _dead(one: UnitActivity) -> Finding:
    return Finding(
        severity="critical" if one.dead > 0.9 else "warning",
        code="dead-units",
        seen=f"{one.dead:.0%} of the {one.units} ReLU units are 0 on every example",
        cause="their biases or weights keep the sum below 0, so that they get no gradient",
        cure="start biases at 0 with He initial weights, or take leaky ReLU; if it happens in "
        "training, lower the learning rate",
        layer=one.layer,
        evidence={"dead": one.dead, "units": one.units},
        changes={"init": "he"},
    )


def _saturated(one: UnitActivity) -> Finding:
    return Finding(
        severity="warning",
        code="saturated-units",
        seen=f"{one.saturated:.0%} of values of {one.kind} lie at an end of its range",
        cause=f"the inputs of {one.kind} are too large, and its slope there is nearly 0",
        cure="take smaller initial weights (Xavier for tanh), scale the inputs, or put a "
        "normalisation before it",
        layer=one.layer,
        evidence={"saturated": one.saturated},
        changes={"init": "xavier"},
    )


def check_symmetry(context: CheckContext) -> Iterator[Finding]:
    """Yields the first layer whose units all have the same weights."""
    model = context.model
    for name, weight in model.named_parameters():
        if weight.dim() < 2 or len(weight) < 2 or not name.endswith("weight"):
            continue
        flat = weight.detach().flatten(1)
        if bool((flat == flat[:1]).all()) and bool(flat.any()):
            yield Finding(
                severity="critical",
                code="symmetric-weights",
                seen=f"all {len(flat)} units of {layer_of(model, weight)} have the same weights",
                cause="they were set to a constant, so that the units stay the same in training",
                cure="draw random weights: ravine.nn.init_(model, 'he')",
                layer=layer_of(model, weight),
                evidence={"units": len(flat)},
                changes={"init": "he"},
            )
            return
