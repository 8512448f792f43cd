"""Whether several layers in a row come to one: a network without anything between them that bends.

An affine function keeps the middle of two inputs in the middle of their outputs. The network is
asked with weights that are drawn for it: branches that begin as 0 would hide their bends. Of
several inputs one is changed, and the others are held: a graph and what stands at its nodes.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.drawn_weights import draw_weights_
from ravine.checks.inputs import standardised
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.nested import call_model, map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.nn.freezing import training_mode_

_AFFINE = 1e-4  # deviation from the middle over that of the outputs, in float32
_EXAMPLES = 8


def check_linearity(context: CheckContext) -> Iterator[Finding]:
    """Yields a network of several layers with weights that is an affine function of an input."""
    profile, sample = context.measured.variance, context.samples[0].first(_EXAMPLES)
    layers = [one.layer for one in profile.layers if one.weighted] if profile else []
    layers = [name for name in layers if _has_gradient(context.model.get_submodule(name))]
    if len(dict.fromkeys(layers)) < 2 or len(sample) < 2:
        return
    tensors = tensors_in(sample.inputs)
    several = len(tensors) > 1
    with preserve_training(context.model), torch.no_grad():
        training_mode_(context.model).eval()
        draw_weights_(context.model)
        for place, t in enumerate(tensors):
            if not t.is_floating_point() or t.dim() < 2:
                continue
            if several and not _all_behind(context, sample, place, layers):
                continue
            # A column that is far larger hides the bends, as a norm of other statistics does.
            ways = (sample.inputs, standardised(sample.inputs))
            apart = list(_while_affine(context, ways, place))
            if len(apart) == len(ways):
                yield _linear(layers, apart, several=several)
                return


def _while_affine(context: CheckContext, ways: Sequence[Any], place: int) -> Iterator[float]:
    """Yields how far each way of putting the inputs is from affine, up to the first that bends."""
    for inputs in ways:
        apart = _apart(context, inputs, place)
        if apart is None or apart >= _AFFINE:
            return
        yield apart


def _linear(layers: list[str], apart: list[float], *, several: bool) -> Finding:
    return Finding(
        severity="warning" if len(layers) > 2 else "note",  # two are a factorisation, perhaps
        code="network-is-linear",
        seen=f"{len(layers)} layers with weights, and the output for the middle of two inputs "
        f"is the middle of their outputs (to {max(apart):.0e} of "
        f"their deviation){', what else is put in being the same' if several else ''}",
        cause="no activation stands between the layers: one is missing, or its result is not "
        "used (F.relu(x) returns a new tensor)",
        cure="write x = F.relu(layer(x)), or put nn.ReLU() between the layers",
        layer=layers[0],
        evidence={"layers": float(len(layers))},
    )


def _has_gradient(layer: nn.Module) -> bool:
    """Returns whether a layer has a say: one behind a factor of 0 bends nothing."""
    gradients = [p.grad for p in layer.parameters(recurse=False)]
    return not gradients or any(g is not None and bool(g.any()) for g in gradients)


def _all_behind(context: CheckContext, sample: CheckBatch, place: int, layers: list[str]) -> bool:
    """Returns whether one of several inputs reaches all layers with weights.

    Layers of another input make factors: a product of two networks is linear in one of them.
    """
    seen = [_outputs_of(context, inputs, layers) for inputs in _turned(sample.inputs, place)]
    if not all(seen):
        return False
    one, other = seen
    return all(
        name in one and name in other and not torch.equal(one[name], other[name]) for name in layers
    )


def _turned(inputs: Any, place: int) -> tuple[Any, Any]:
    """Returns inputs, and those of which one belongs to the example before."""
    mine = tensors_in(inputs)[place]
    return inputs, map_tensors(inputs, lambda t: t.roll(1, 0) if t is mine else t)


def _outputs_of(context: CheckContext, inputs: Any, layers: list[str]) -> dict[str, Tensor]:
    """Returns what layers make of inputs, by their names; none where the network refuses them."""
    found: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            made = tensors_in(output)
            if made and name not in found:
                found[name] = made[0]

        return keep

    with ExitStack() as watching:
        for name in layers:
            hook = context.model.get_submodule(name).register_forward_hook(keeper(name))
            watching.callback(hook.remove)
        try:
            call_model(context.model, inputs)
        except REFUSALS:
            return {}
    return found


def _apart(context: CheckContext, inputs: Any, place: int) -> float | None:
    """Returns how far outputs for the middle of two inputs are from the middle of their outputs.

    Over the deviation of the outputs (N, …) between examples; None where that is 0 or not known.
    """
    turned = _turned(inputs, place)[1]
    mine = tensors_in(inputs)[place]
    middle = map_tensors(inputs, lambda t: 0.5 * t + 0.5 * t.roll(1, 0) if t is mine else t)
    try:
        one, other, between = (call_model(context.model, x) for x in (inputs, turned, middle))
    except REFUSALS:
        return None  # drawn weights are none that this network takes
    made = (one, other, between)
    if not all(isinstance(t, Tensor) and t.dim() and t.is_floating_point() for t in made):
        return None
    if not one.shape == other.shape == between.shape:
        return None
    size = float((one - one.mean(0)).std())
    return float((between - 0.5 * one - 0.5 * other).std()) / size if size > 0 else None
