"""A column that was made from the targets, those of its own row among them: a target encoding.

Rows of one value of such a column are a group (a customer, a town). The mean target of a group lies
about its true mean by chance, and a column that was made from other rows cannot know by how much.
Where the groups' means follow the column more closely than their own spread allows, it was made
from these very targets, drawn to the mean of all where a group is small or not.

Shape letters: N rows, D columns, G groups.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ravine.findings.thresholds import OWN_LABEL, OWN_LABEL_CERTAIN

_GROUPS, _INSIDE = 20, 40  # fewest, and rows beyond one in each
_MOST = 20_000  # rows
_TERMS = 4  # that are fitted to the groups' means
_ONE_GROUP = 0.5  # of the rows beyond one in each group, that one value has by itself
_RELATED = 4.0  # standard errors of the slope by which groups' means rise with the column


@dataclass(frozen=True, slots=True)
class OwnLabel:
    """A column that knows its own targets.

    Attributes:
        column: from 0 on.
        groups: of rows with one value.
        ratio: mean square of the groups' means about a line in the column, over what the spread
            within groups makes of it by chance.
        certain: standard deviations by which it is below 1.
    """

    column: int
    groups: int
    ratio: float
    certain: float


def known_rows(source: Any) -> tuple[Tensor, Tensor] | None:
    """Returns all rows (N, D) float64 and targets (N,) that batches hold in memory, each once.

    A group shows its chance by all of its rows. None where batches are made as they are asked for.
    """
    tensors = getattr(getattr(source, "dataset", None), "tensors", None)
    pairs = [tensors] if tensors is not None else source
    if not isinstance(pairs, list | tuple) or not all(_is_row_pair(pair) for pair in pairs):
        return None
    parts = [(pair[0].detach().cpu(), pair[1].detach().cpu()) for pair in pairs]
    if len({x.shape[1] for x, _ in parts}) != 1 or sum(len(x) for x, _ in parts) > _MOST:
        return None
    x, y = (torch.cat(list(part)).double() for part in zip(*parts, strict=True))
    both = torch.cat([x, y.reshape(len(x), 1)], 1)
    return (both[:, :-1], both[:, -1]) if len(pairs) == 1 else _each_once(both)


def _is_row_pair(pair: Any) -> bool:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return False
    are_tensors = all(isinstance(one, Tensor) for one in pair)
    return are_tensors and pair[0].dim() == 2 and pair[1].numel() == len(pair[0])


def _each_once(both: Tensor) -> tuple[Tensor, Tensor]:
    """Returns rows that several epochs repeat once, from (N, D + 1) with the targets at the end."""
    once = both.unique(dim=0)
    return once[:, :-1], once[:, -1]


def find_own_label(x: Tensor, y: Tensor) -> Iterator[OwnLabel]:
    """Yields the first column of (N, D) float64 that was made from targets (N,) of its own rows."""
    for column in range(x.shape[1]):
        found = _judged(column, x[:, column], y.double())
        if found is not None and found.ratio < OWN_LABEL and found.certain > OWN_LABEL_CERTAIN:
            yield found
            return


def _judged(column: int, x: Tensor, y: Tensor) -> OwnLabel | None:
    """Returns how far the groups' means are from a line; None where too few rows share a value.

    A value that most of them share may stand for none (a gap, a unit that rests) and is left out:
    its spread is not that of the others.
    """
    values, group, sizes = x.unique(return_inverse=True, return_counts=True)
    groups = len(values)
    if groups > 1 and int(sizes.max()) - 1 > _ONE_GROUP * (len(x) - groups):
        others = group != int(sizes.argmax())
        return _judged(column, x[others], y[others])
    if groups < _GROUPS or len(x) - groups < _INSIDE:
        return None
    counts = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, torch.ones_like(y))
    means = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, y) / counts
    within = float((y - means[group]).square().sum()) / (len(x) - groups)
    if within <= 1e-6 * float(y.var()):
        return None
    centre = (counts * values).sum() / counts.sum()
    spread = float((counts * (values - centre).square()).sum())
    middle = (counts * means).sum() / counts.sum()
    slope = float((counts * (values - centre) * (means - middle)).sum()) / max(spread, 1e-30)
    left = _left(values - centre, means - middle, counts)
    between = float((counts * left.square()).sum()) / (groups - _TERMS)
    if abs(slope) * math.sqrt(spread / within) < _RELATED:
        return None  # groups that were made alike on purpose, such as pairs
    ratio = between / within
    certain = _below_one(ratio, groups - _TERMS, len(x) - groups)
    return OwnLabel(column, groups, ratio, certain)


def _left(values: Tensor, means: Tensor, counts: Tensor) -> Tensor:
    """Returns what the groups' means (G,) leave of a line in the column, and in column / count.

    An encoding that is drawn to the mean of all, (sum + m·mean) / (count + m), is such a one.
    """
    terms = torch.stack([torch.ones_like(values), values, 1 / counts, values / counts], 1)
    weights = counts.sqrt()[:, None]
    found = torch.linalg.lstsq(weights * terms, weights * means[:, None], driver="gelsd").solution
    return means - (terms @ found)[:, 0]


def _below_one(ratio: float, freedom: int, other: int) -> float:
    """Returns how far a ratio of two variances lies below 1, in standard deviations.

    By the cube root, which is nearly normal (Wilson and Hilferty 1931).
    """
    ours, theirs = 2 / (9 * freedom), 2 / (9 * other)
    root = ratio ** (1 / 3)
    return (1 - ours - root * (1 - theirs)) / math.sqrt(ours + root**2 * theirs)
