"""Whether batch norm's running statistics fit: the loss in both stages on one batch."""

from collections.abc import Iterator

import torch
from torch import nn

from ravine.checks.context import Subject
from ravine.core.preserve_training import restored
from ravine.findings.finding import Finding
from ravine.findings.thresholds import NORM_LOSS, NORM_LOSS_NATS

_TRAINED = 100  # batches that the statistics have seen, from where on they must fit


def check_norm_statistics(subject: Subject) -> Iterator[Finding]:
    """Yields statistics that disagree between learning and application stage.

    Only in networks that have trained: at the start they cannot agree.
    """
    norms = [
        (name, module)
        for name, module in subject.model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    seen = [int(m.num_batches_tracked) for _, m in norms if m.num_batches_tracked is not None]
    if not seen or max(seen) < _TRAINED:
        return
    sample = subject.samples[0]
    with restored(subject.model), torch.no_grad():
        subject.model.eval()
        applied = float(subject.value(sample))
        for _, module in norms:
            module.train()
        learnt = float(subject.value(sample))
    if applied > NORM_LOSS * learnt + NORM_LOSS_NATS or applied != applied:
        yield Finding(
            severity="warning",
            code="norm-statistics-disagree",
            seen=f"the loss of one batch is {learnt:.3g} with the batch's own statistics and "
            f"{applied:.3g} with the running ones",
            cause="the running mean and variance have not followed the weights (few steps, a rate "
            "at which the weights still jump, or a small momentum)",
            cure="measure the statistics anew, by a pass over training images in training mode "
            "without gradient (ravine train: --norm-statistics measured), or end with a small rate",
            layer=norms[0][0],
            evidence={"learning": learnt, "application": applied},
        )
