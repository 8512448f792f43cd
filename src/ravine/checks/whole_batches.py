"""Networks that take their batch as a whole: a graph with links between all of its examples.

Such a network refuses part of a batch. What asks for some examples is given all of them then, and
what trains on a few and is tried on others is left out.
"""

from dataclasses import replace

import torch

from ravine.checks.context import CheckContext, Measurements
from ravine.core.preserve_training import preserve_training


def with_whole_batches(context: CheckContext) -> CheckContext | None:
    """Returns a context whose batches have no parts; None where that is no help."""
    sample = context.samples[0]
    if sample.is_whole:
        return None
    with preserve_training(context.model, context.optimizer), torch.no_grad():
        try:
            context.output(sample)
        except Exception:  # the user's network, which takes neither
            return None
    return replace(
        context,
        samples=tuple(replace(one, is_whole=True) for one in context.samples),
        measured=Measurements(),
    )
