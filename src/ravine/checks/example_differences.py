"""Where examples become alike: the first layer behind which nothing of their differences is left.

The variance of a layer may be large and all of it lie between its units, the same for each example:
a norm over a single value, a state after many steps of padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.core.nested import tensors_in
from ravine.findings.finding import Finding
from ravine.findings.thresholds import ALIKE
from ravine.propagation.signals import element_moments

_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class _Passed:
    """A layer with the variance between examples before and behind it."""

    name: str
    before: float
    behind: float


def check_differences(context: CheckContext) -> Iterator[Finding]:
    """Yields outputs (N, …) that are next to the same for all examples, and where that begins."""
    sample = context.samples[0].first(_EXAMPLES)
    if len(sample) < 2:
        return
    passed = list[_Passed]()
    hooks = [
        module.register_forward_hook(_keeper(name, len(sample), passed))
        for name, module in context.model.named_modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad():
            out = context.output(sample)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(out, Tensor) or not out.is_floating_point() or len(out) != len(sample):
        return
    out = out.detach()  # a network may differentiate by itself
    size, between = float(out.double().var()), _between(out)
    if not size > 0 or between > ALIKE * size:
        return
    if passed and not any(max(one.before, one.behind) > 0 for one in passed) and _differ(sample):
        yield _never_seen(passed[0].name)
        return
    lost = next(filter(None, map(_lost, [None, *passed], passed)), None)
    if lost is None or _is_silent(context.model, lost):
        return
    yield Finding(
        severity="warning",
        code="vanishing-at-start",
        seen=f"the outputs are the same for all examples (variance between them {between:.1e}, of "
        f"{size:.1e} in all); before {lost.name} it is {lost.before:.1e}, and {lost.behind:.1e} "
        "behind it",
        cause="the layer takes away what its examples differ in: a norm over a single value, a "
        "state that is read after many steps of padding, an average over everything",
        cure=f"inspect {lost.name}: normalise over several values, read states at their true end",
        layer=lost.name,
        evidence={"between": between, "size": size},
    )


def _lost(earlier: _Passed | None, one: _Passed) -> _Passed | None:
    """Returns where differences are lost: inside a layer, or on the way to it from the one before.

    A recurrent layer has states of many steps; the last one of them may hold nothing any more.
    """
    if one.before > 0 and one.behind <= ALIKE * one.before:
        return one
    if earlier is not None and earlier.behind > 0 and one.before <= ALIKE * earlier.behind:
        return _Passed(earlier.name, earlier.behind, one.before)
    return None


def _differ(sample: CheckBatch) -> bool:
    """Returns whether the examples of a batch differ in each of its inputs."""
    return all(_between(t) > 0 for t in tensors_in(sample.inputs) if t.dtype != torch.bool)


def _never_seen(name: str) -> Finding:
    return Finding(
        severity="warning",
        code="inputs-ignored",
        seen="the outputs are the same for all examples, and so is what every layer is given, from "
        f"{name} on",
        cause="the inputs do not reach the layers: they are multiplied by 0 or masked, or another "
        "tensor is passed on in forward()",
        cure=f"print what {name} is given for two examples",
        layer=name,
    )


def _keeper(name: str, count: int, passed: list[_Passed]) -> Any:
    def keep(_: nn.Module, inputs: Any, output: Any) -> None:
        ends = [
            [t for t in tensors_in(x) if t.dtype != torch.bool and t.dim() > 1 and len(t) == count]
            for x in (inputs, output)
        ]
        if ends[0] and ends[1]:
            passed.append(_Passed(name, _between(ends[0][0]), _between(ends[1][0])))

    return keep


def _between(x: Tensor) -> float:
    """Returns the mean variance of (N, …) over N, which is 0 where all are the same."""
    x = x.detach().float()
    return float(element_moments(x - x[:1])[1].mean())


def _is_silent(model: nn.Module, lost: _Passed) -> bool:
    """Returns whether the layer's weights are 0, as those of a head may be at the start."""
    weights = list(model.get_submodule(lost.name).parameters(recurse=False))[:1]
    return bool(weights) and not bool(weights[0].any())
