"""Steps that send a batch through in parts, and whose gradient is that of the last part alone.

Either zero_grad() stands inside the loop over the parts, or backward() after it, so that the last
loss is all that it differentiates. Two passes of all examples, as of sharpness-aware or adversarial
steps, are no parts.
"""

from collections.abc import Iterator

from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.step_observation import declared_gradient
from ravine.checks.step_record import StepPair, StepRecord, cosine
from ravine.findings.finding import Finding

_SAME, _ANOTHER = 0.99, 0.97  # cosines with the gradient of the last part, and of the whole batch


def find_dropped_parts(context: CheckContext, pair: StepPair) -> Iterator[Finding]:
    """Yields a step whose gradient is that of the last part of its batch."""
    record, size = pair.first, len(context.samples[0])
    is_in_parts = len(record.parts) > 1 and sum(record.parts) == size
    if record.calls > 1 or not is_in_parts or record.has_closure:
        return
    are_cleared = record.lost == len(record.parts) - 1
    if are_cleared or _follows_last(context, pair):
        yield _finding(record, are_cleared)


def _follows_last(context: CheckContext, pair: StepPair) -> bool:
    """Returns whether the step's gradient is the declared one of the last part of the batch."""
    record = pair.first
    if not pair.declared or cosine(record.gradients, pair.declared) > _ANOTHER:
        return False
    last, sample = record.parts[-1], context.samples[0]
    try:
        alone = declared_gradient(
            context, sample.first(last, start=len(sample) - last), record.modes
        )
    except REFUSALS:
        return False
    return cosine(record.gradients, alone) > _SAME


def _finding(record: StepRecord, are_cleared: bool) -> Finding:
    count = len(record.parts)
    return Finding(
        severity="warning",
        code="gradients-dropped",
        seen=f"the step sends its batch through in {count} parts, and "
        + (
            "clears the gradients of each but the last before the optimizer steps"
            if are_cleared
            else "its gradient is that of the last part alone"
        ),
        cause="zero_grad() stands inside the loop over the parts of a batch"
        if are_cleared
        else "backward() stands behind the loop over the parts, and sees the last loss alone",
        cure="call optimizer.zero_grad() once, before the loop over the parts"
        if are_cleared
        else "call backward() for each part inside the loop, on its loss divided by their number",
        evidence={"parts": float(count), "dropped": float(count - 1)},
    )
