"""Where examples become alike: the first layer behind which nothing of their differences is left.

The variance of a layer may be large and all of it lie between its units, the same for each example:
a norm over a single value, a state after many steps of padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.context import CheckContext
from ravine.core.nested import tensors_in
from ravine.findings.finding import Finding
from ravine.findings.thresholds import ALIKE

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
    lost = next(filter(None, map(_lost, [None, *passed], passed)), None)
    if lost is None or not size > 0 or between > ALIKE * size or _is_silent(context.model, lost):
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
    if one.behind <= ALIKE * one.before:
        return one
    if earlier is not None and one.before <= ALIKE * earlier.behind:
        return _Passed(earlier.name, earlier.behind, one.before)
    return None


def _keeper(name: str, count: int, passed: list[_Passed]) -> Any:
    def keep(_: nn.Module, inputs: Any, output: Any) -> None:
        ends = [
            [t for t in tensors_in(x) if t.is_floating_point() and t.dim() > 1 and len(t) == count]
            for x in (inputs, output)
        ]
        if ends[0] and ends[1]:
            passed.append(_Passed(name, _between(ends[0][0]), _between(ends[1][0])))

    return keep


def _between(x: Tensor) -> float:
    """Returns the mean variance of (N, …) over N."""
    return float(x.detach().float().var(0).mean())


def _is_silent(model: nn.Module, lost: _Passed) -> bool:
    """Returns whether the layer's weights are 0, as those of a head may be at the start."""
    weights = list(model.get_submodule(lost.name).parameters(recurse=False))[:1]
    return bool(weights) and not bool(weights[0].any())
