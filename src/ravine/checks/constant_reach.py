"""The one value that answers a loss best for all examples, and whether a network can give it.

A rate's logarithm is below 0 where events are rare; behind a softplus or a ReLU it cannot be. Which
unit a loss takes its outputs in is known to the loss alone, so it is asked: every output is set to
one value after another.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import value_of
from ravine.findings.finding import Finding

_SIZES = (0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_LOST = 0.05  # of what the loss rises by within 1 of its least value


def find_beyond_range(
    context: CheckContext, out: Tensor, last: str, *, low: float, high: float
) -> Iterator[Finding]:
    """Yields a last function whose results lie aside of the loss's best constant output.

    Args:
        context: of the checks.
        out: outputs of the first examples, (N, …).
        last: name of the function that made them, whose results lie between `low` and `high`.
        low: may be -inf.
        high: may be inf.
    """
    losses = {v: _loss(context, out, v) for v in (0.0, *_SIZES, *(-s for s in _SIZES))}
    found = {v: loss for v, loss in losses.items() if math.isfinite(loss)}
    inside = [v for v in found if low <= v <= high]
    outside = [v for v in found if not low <= v <= high]
    if len(found) < len(losses) or not inside or not outside:
        return
    best, least = min(inside, key=found.__getitem__), min(outside, key=found.__getitem__)
    if _is_end(least, outside) or found[best] <= found[least]:
        return
    rise = max(found[v] for v in found if abs(v - least) <= 1) - found[least]
    if found[best] - found[least] > _LOST * rise > 0:
        within = f"{last} ({low:g} to {high:g})"
        yield _beyond(last, within, least=(least, found[least]), reached=found[best])


def _loss(context: CheckContext, out: Tensor, value: float) -> float:
    targets = context.samples[0].first(len(out)).targets
    return value_of(context.loss, torch.full_like(out, value), targets)


def _is_end(value: float, values: Sequence[float]) -> bool:
    """Returns whether a value is the first or the last of those tried: it is no least one then."""
    return abs(value) == max(map(abs, values))


def _beyond(last: str, within: str, *, least: tuple[float, float], reached: float) -> Finding:
    value, loss = least
    return Finding(
        severity="warning",
        code="activation-on-logits",
        seen=f"the network ends in {within}, and of all constant outputs the loss is least near "
        f"{value:g}: {loss:.3g}, and {reached:.3g} at best within that range",
        cause="the loss takes its outputs in another unit than the network gives them, such as the "
        "logarithm of a rate (log_input=True) in place of the rate",
        cure=f"leave out the {last} at the network's end, or tell the loss what it is given "
        "(PoissonNLLLoss(log_input=False))",
        evidence={"value": value, "least": loss, "reached": reached},
    )
