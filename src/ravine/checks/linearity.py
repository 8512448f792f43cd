"""Whether several layers in a row come to one: a network without anything between them that bends.

An affine function keeps the middle of two inputs in the middle of their outputs. The network is
asked with weights that are drawn for it: branches that begin as 0 would hide their bends.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ravine.checks.context import CheckContext
from ravine.checks.inputs import standardised
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.nn.freezing import training_mode_

_AFFINE = 1e-4  # deviation from the middle over that of the outputs, in float32
_EXAMPLES = 8


def check_linearity(context: CheckContext) -> Iterator[Finding]:
    """Yields a network of several layers with weights that is an affine function."""
    profile, sample = context.measured.variance, context.samples[0].first(_EXAMPLES)
    layers = [one.layer for one in profile.layers if one.weighted] if profile else []
    layers = [name for name in layers if _has_gradient(context.model.get_submodule(name))]
    if len(dict.fromkeys(layers)) < 2 or len(sample) < 2 or not isinstance(sample.inputs, Tensor):
        return
    if not sample.inputs.is_floating_point():
        return
    with preserve_training(context.model), torch.no_grad():
        training_mode_(context.model).eval()
        _draw_(context.model)
        # A column that is far larger hides the bends, as a norm of other statistics does.
        apart = [_apart(context.model, x) for x in (sample.inputs, standardised(sample.inputs))]
    if all(one is not None and one < _AFFINE for one in apart):
        yield Finding(
            severity="warning" if len(layers) > 2 else "note",  # two are a factorisation, perhaps
            code="network-is-linear",
            seen=f"{len(layers)} layers with weights, and the output for the middle of two inputs "
            f"is the middle of their outputs (to {max(filter(None, apart), default=0.0):.0e} of "
            "their deviation)",
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


def _apart(model: nn.Module, inputs: Tensor) -> float | None:
    """Returns how far outputs for the middle of two inputs are from the middle of their outputs.

    Over the deviation of the outputs (N, …) between examples; None where that is 0 or not known.
    """
    half = len(inputs) // 2

    def middle(x: Tensor) -> Tensor:
        return 0.5 * x[:half] + 0.5 * x[half : 2 * half]

    try:
        ends, between = model(inputs), model(middle(inputs))
    except REFUSALS:
        return None  # drawn weights are none that this network takes
    if not isinstance(ends, Tensor) or not isinstance(between, Tensor) or not ends.dim():
        return None
    if not ends.is_floating_point() or between.shape != ends[:half].shape:
        return None
    size = float((ends - ends.mean(0)).std())
    return float((between - middle(ends)).std()) / size if size > 0 else None


def _draw_(model: nn.Module) -> None:
    """Gives all parameters values that no layer is blind for."""
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        drawn = torch.randn(p.shape, generator=generator).to(p)
        taken = math.prod(p.shape[1:])
        p.copy_(drawn / math.sqrt(max(1, taken)) if p.dim() > 1 else 1 + 0.3 * drawn)
