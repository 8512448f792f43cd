"""Gradients that are not cleared between steps, and parameters that never have any."""

from collections.abc import Iterator

from ravine.findings.finding import Finding
from ravine.findings.loop_record import LoopRecord
from ravine.findings.thresholds import LEFT_IN_STEPS

_FEWEST = 4  # steps of which it is known


def find_gradients(record: LoopRecord) -> Iterator[Finding]:
    """Yields what the gradients of the steps have in common."""
    left, known = record.uncleared
    if known >= _FEWEST and left >= LEFT_IN_STEPS * known:
        yield Finding(
            severity="critical",
            code="gradients-not-cleared",
            seen=f"{left} of the first {known} steps added their gradients to those of the step "
            "before",
            cause="the gradients of all earlier steps add up: zero_grad is not called",
            cure="call optimizer.zero_grad() in every step, before loss.backward()",
            step=1,
            evidence={"left": float(left), "steps": float(known)},
        )
    part = record.unreached
    if part is not None:
        yield Finding(
            severity="warning",
            code="no-gradient",
            seen=f"{part.tensors} tensors that the optimizer holds ({part.share:.0%} of its "
            f"weights) had no gradient in any of {part.steps} steps",
            cause="the forward pass does not use them, or cuts the graph behind them "
            "(detach, no_grad, .data, argmax, numpy)",
            cure="look for what cuts the graph in forward(); freeze what shall not learn with "
            "requires_grad_(False)",
            evidence={"tensors": float(part.tensors), "share": part.share},
        )
