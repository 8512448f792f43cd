"""Whether batch norm's running statistics fit: the loss in both modes on one batch."""

from collections.abc import Iterator

import torch
from torch import nn

from ravine.checks.context import CheckContext
from ravine.checks.other_preparation import find_other_preparation
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import NORM_LOSS, NORM_LOSS_NATS

_TRAINED = 100  # batches after which the statistics must fit


def check_norm_statistics(context: CheckContext) -> Iterator[Finding]:
    """Yields running statistics that disagree with those of a batch.

    Only in networks that have trained: at the start they cannot agree. Images in another form are
    named first.
    """
    prepared = list(find_other_preparation(context))
    if prepared:
        yield from prepared
        return
    norms = [
        (name, module)
        for name, module in context.model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    seen = [int(m.num_batches_tracked) for _, m in norms if m.num_batches_tracked is not None]
    if not seen or max(seen) < _TRAINED:
        return
    sample = context.samples[0]
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        evaluated = float(context.value(sample))
        for _, module in norms:
            module.train()
        trained = float(context.value(sample))
    if evaluated > NORM_LOSS * trained + NORM_LOSS_NATS or evaluated != evaluated:
        yield Finding(
            severity="warning",
            code="norm-statistics-disagree",
            seen=f"the loss of one batch is {trained:.3g} with the batch's own statistics and "
            f"{evaluated:.3g} with the running ones",
            cause="the running mean and variance have not followed the weights (few steps, a "
            "learning rate at which the weights still jump, or a small momentum)",
            cure="measure the statistics anew, by a pass over training images in training mode "
            "without gradient (ravine train: --norm-statistics measured), or end with a small "
            "learning rate",
            layer=norms[0][0],
            evidence={"learning": trained, "application": evaluated},
        )
