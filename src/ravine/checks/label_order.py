"""Batches that hold some classes on purpose, or groups of labels, and are in no order.

Shape letters: B batches, K classes.
"""

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.label_meaning import compares_examples

_ORDERS, _CERTAIN = 200, 3.0  # other orders of batches, and deviations beyond them
_DRAWS = 8  # of a batch, that tell one from another by themselves
_RECUR = 0.5  # of the classes, that come in batches apart from each other


def are_composed(context: CheckContext, table: Tensor) -> bool:
    """Returns whether batches hold some classes on purpose, for a loss that compares examples.

    Each holds two classes at least, with two examples of each, and a batch is no more like the one
    before it than like any other.

    Args:
        context: of the checks.
        table: (B, K) float64, examples of each class in each batch.
    """
    pairs = ((table >= 2).sum(1) >= 2).all() and not bool((table == 1).any())
    return bool(pairs) and not _drifts(table) and compares_examples(context)


def are_groups(table: Tensor, ratio: float) -> bool:
    """Returns whether labels come in groups (views of one image) that are drawn in any order.

    Groups of r labels raise χ² by r, and so a batch has 1/r as many draws. There are some of them
    in each batch, it is no more like the one before it than like any other, and most classes come
    again in batches that are no neighbours.

    Args:
        table: (B, K) float64, examples of each class in each batch.
        ratio: χ² over its degrees of freedom.
    """
    draws = float(table.sum(1).mean()) / max(ratio, 1.0)
    if draws < _DRAWS or len(table) < 3:
        return False
    places = torch.arange(1, len(table) + 1, dtype=table.dtype)[:, None]
    last = torch.where(table > 0, places, 0).amax(0)
    first = torch.where(table > 0, places, len(table) + 1).amin(0)
    recur = float((last - first > 1).double().mean())
    return recur > _RECUR and not _drifts(table)


def _drifts(table: Tensor) -> bool:
    """Returns whether batches, (B, K) examples of each class, are alike where they are near."""
    mixtures = table / table.norm(dim=1, keepdim=True).clamp_min(1e-12)
    alike, generator = mixtures @ mixtures.T, torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(table), generator=generator) for _ in range(_ORDERS)]
    by_chance = torch.stack([alike[o[:-1], o[1:]].mean() for o in orders])
    near = alike.diagonal(1).mean()
    return bool(near > by_chance.mean() + _CERTAIN * by_chance.std())
