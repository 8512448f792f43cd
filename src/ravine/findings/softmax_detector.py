"""Outputs that are probabilities already, and a loss that takes a softmax of them once more.

The cross-entropy of K numbers between 0 and 1 lies between ln(e + K − 1) − 1 and ln(e + K − 1),
however sure they are. So it is with the losses of a whole run then, while the probabilities
themselves say that the network has learnt: their own loss would be near their entropy.
"""

import math
from collections.abc import Iterator

import numpy as np

from ravine.findings.finding import Finding
from ravine.findings.loop_record import LoopRecord
from ravine.findings.run_trace import Trace

_FEWEST = 8  # recorded losses
_OFF = 0.02  # of a loss that is known from a batch
_SURER = 2.0  # times the entropy that a loss of these probabilities may be


def find_softmax_twice(record: LoopRecord, run: Trace) -> Iterator[Finding]:
    """Yields probabilities whose recorded losses are those of a second softmax.

    Args:
        record: of the monitor.
        run: the recorded losses.
    """
    losses, classes = run.losses[np.isfinite(run.losses)], record.classes
    if len(losses) < _FEWEST or not classes or not math.isfinite(record.probabilities_doubt):
        return
    highest = math.log(math.e + classes - 1)
    end = float(losses[-max(4, len(losses) // 8) :].mean())
    is_within = losses.min() > highest - 1 - _OFF and losses.max() < highest + _OFF
    if is_within and end > _SURER * record.probabilities_doubt + _OFF:
        yield Finding(
            severity="critical",
            code="softmax-twice",
            seen=f"the outputs are probabilities (mean entropy {record.probabilities_doubt:.2g}), "
            f"and no loss was ever below {losses.min():.3g}: a softmax of {classes} probabilities "
            f"cannot fall below {highest - 1:.3g}",
            cause="softmax stands before a cross-entropy that holds one itself",
            cure="leave out the softmax at the network's end",
            evidence={"least": float(losses.min()), "bound": highest - 1},
        )
