"""Outputs that are the same for all inputs, while the loss has fallen: representations collapsed.

A loss that only draws views of one example together has its least value where all examples are
drawn together. Of classes and values that is no good answer, and its loss does not fall so far.
"""

from collections.abc import Iterator

import numpy as np

from ravine.findings.finding import Finding
from ravine.findings.loop_record import LoopRecord
from ravine.findings.run_trace import Trace
from ravine.findings.thresholds import COLLAPSED, COLLAPSED_LOSS

_FEWEST = 8  # recorded losses


def find_collapse(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields outputs that became alike while the loss fell.

    Args:
        record: of the monitor.
        run: the recorded losses.
    """
    known = run.losses[np.isfinite(run.losses)]
    if len(known) < _FEWEST or not record.apart < COLLAPSED:
        return
    end = float(known[-max(4, len(known) // 8) :].mean())
    if not end < COLLAPSED_LOSS * run.chance:
        return
    yield Finding(
        severity="critical",
        code="outputs-collapsed",
        seen=f"different inputs have the same output: {record.apart:.2g} of its direction "
        f"varies between examples, while the loss has fallen to {end + run.least:.3g}",
        cause="nothing in the loss keeps the outputs of different inputs apart, and one output for "
        "all is its least value: a missing stop-gradient or predictor, no negatives, no variance "
        "term",
        cure="detach the target branch (and keep the predictor), or add negatives or a variance "
        "term; watch the standard deviation of the outputs",
        evidence={"apart": record.apart, "loss": end + run.least},
    )
