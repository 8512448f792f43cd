"""Networks that take their batch as a whole: a graph with links between all of its examples.

Such a network refuses part of a batch. What asks for some examples is given all of them then, and
what trains on a few and is tried on others is left out.
"""

from dataclasses import replace

import torch

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext, Measurements
from ravine.core.preserve_training import preserve_training


def with_whole_batches(context: CheckContext) -> CheckContext | None:
    """Returns a context whose batches have no parts; None where the network takes parts as well.

    Asked for is half a batch: norms may need more than one example.
    """
    sample = context.samples[0]
    if sample.is_whole or len(sample) < 2:
        return None
    with preserve_training(context.model, context.optimizer), torch.no_grad():
        if _takes(context, sample.first(len(sample) // 2)) or not _takes(context, sample):
            return None
    return replace(
        context,
        samples=tuple(replace(one, is_whole=True) for one in context.samples),
        measured=Measurements(),
    )


def _takes(context: CheckContext, sample: CheckBatch) -> bool:
    try:
        context.output(sample)
    except Exception:  # whatever a user's network raises
        return False
    return True
