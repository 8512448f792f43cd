"""Whether the batches hold different examples, or the same few of them again and again.

A sampler that is given a weight for each class, and not for each example, draws from as many
examples as there are classes.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.findings.finding import Finding

_LEAST = 16  # examples of a batch
_NUMBERS, _KINDS = 64, 32  # of an example that are compared, and different ones among them
# Different examples of a batch, and of all batches, over their number: fewer are far from what
# oversampling of a rare class leaves.
_OF_BATCH, _OF_ALL = 1 / 3, 1 / 6


def find_few_different(samples: Sequence[CheckBatch]) -> Iterator[Finding]:
    """Yields batches whose examples are mostly copies of each other."""
    rows = [_numbers(one) for one in samples]
    known = [row for row in rows if row is not None]
    if len(known) < max(2, len(rows)) or len({row.shape[1] for row in known}) > 1:
        return
    together = torch.cat(known)
    if len(together[:1024].unique()) < _KINDS:
        return  # examples of few kinds of numbers are alike by chance
    ours = sum(_different(row) / len(row) for row in known) / len(known)
    different = _different(together)
    if ours < _OF_BATCH and different < _OF_ALL * len(together):
        yield Finding(
            severity="warning",
            code="batches-repeat",
            seen=f"{len(known)} batches with {len(together)} examples hold {different} different "
            f"ones, and a batch {ours:.0%} different ones on average",
            cause="the sampler draws from a few examples: it was given one weight for each class "
            "and not for each example, or indices of another list",
            cure="give WeightedRandomSampler a weight for each example: weight_of_class[labels]",
            evidence={"different": float(different), "examples": float(len(together))},
        )


def _numbers(sample: CheckBatch) -> Tensor | None:
    """Returns some numbers of each example's first floating input, (N, D)."""
    tensors = sample.float_inputs
    if not tensors or len(tensors[0]) < _LEAST:
        return None
    flat = tensors[0].detach().reshape(len(tensors[0]), -1)
    return flat[:, :: max(1, flat.shape[1] // _NUMBERS)][:, :_NUMBERS].double().cpu()


def _different(rows: Tensor) -> int:
    return len(rows.unique(dim=0))
