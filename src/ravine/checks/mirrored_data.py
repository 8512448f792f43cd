"""Whether a data set mirrors images at random and leaves their labels, boxes or points.

What it keeps of its examples stands beside what it returns: which images come out mirrored, and
whether their targets are those that are kept. That a mirror matters is asked of neighbours for
classes; for values of a linear map, whose answers to mirrored images run against the values.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.linear_map import linear_answers, pixels_and_constant, small_images
from ravine.checks.mirrored_classes import (
    VIEWS,
    View,
    centred,
    exchanged_classes,
    mirrored_classes,
)
from ravine.checks.mirrored_targets import targets_left
from ravine.checks.stored_examples import Row, columns_of, data_set_of, rows_at
from ravine.core.nested import tensors_in
from ravine.core.preserve_random import preserve_random
from ravine.findings.finding import Finding

_MOST, _READ = 1000, 64  # images, and those that are compared with what is kept
_FEW, _FEWEST = 10, 200  # images that a view changes; those with values
_MOST_VALUES = 16  # of an example
_NEARER, _SHARE = 0.1, 0.2  # of a correlation; of the images that are in either position
_RUNS_WITH = 0.2  # correlation of a linear map's answers with values


def find_mirrored_in_data(context: CheckContext) -> Iterator[Finding]:
    """Yields a data set that mirrors images at random, and not what a mirror changes of them."""
    found, sample = data_set_of(context.source), context.samples[0]
    if found is None or len(sample.float_inputs) != 1 or sample.float_inputs[0].dim() != 4:
        return
    try:
        with preserve_random():
            yield from _in_data(*found)
    except Exception:  # the user's data set, read otherwise than it was made for
        return


def _in_data(rows: Any, indices: Sequence[int]) -> Iterator[Finding]:
    columns, count = columns_of(rows), min(_MOST, len(indices))
    asked = [int(indices[n * len(indices) // count]) for n in range(count)]
    asked = [asked[n] for n in torch.randperm(count).tolist()]
    items = [rows[n] for n in asked[:_READ]]
    read = torch.stack([torch.as_tensor(item[0]).float() for item in items])
    kept = [_like(rows_at(columns, n), read.shape[1:]) for n in asked]
    known = [one for one in kept if one is not None]
    if read.dim() != 4 or len(known) < count:
        return
    images, targets = torch.stack(known), [item[1] for item in items]
    labels, values = _labels(columns, asked, targets), _values(columns, asked, targets)
    for how, view in VIEWS.items():
        share = _share_turned(images[: len(read)], read, view)
        if not _SHARE < share < 1 - _SHARE:
            continue
        pair = None if labels is None else exchanged_classes(images, labels, view)
        if pair is not None:
            yield mirrored_classes(how, share, pair, "the data set")
            return
        if any(_are_turned_with(images, one, view) for one in values):
            yield targets_left("the data set mirrors", how, share)
            return


def _labels(columns: Sequence[Any], asked: Sequence[int], targets: Sequence[Any]) -> Tensor | None:
    """Returns the labels (N,) that a column keeps, where those that are read are the same."""
    if any(isinstance(one, Tensor) and (one.dim() or one.is_floating_point()) for one in targets):
        return None
    if not all(isinstance(one, Tensor | int) or hasattr(one, "item") for one in targets):
        return None
    given = [int(one) for one in targets]
    for column in columns:
        found = [column[n] for n in asked]
        if all(getattr(one, "ndim", 0) == 0 and not isinstance(one, str) for one in found):
            labels = torch.tensor([int(one) for one in found])
            if labels[: len(given)].tolist() == given and int(labels.min()) >= 0:
                return labels
    return None


def _values(columns: Sequence[Any], asked: Sequence[int], targets: Sequence[Any]) -> list[Tensor]:
    """Returns values (N, k) that columns keep, where those that are read are the same."""
    parts = [[t for t in tensors_in(one) if t.is_floating_point()] for one in targets]
    found: list[Tensor] = []
    for column in columns if len(asked) >= _FEWEST else ():
        rows = [torch.as_tensor(column[n]).flatten() for n in asked]
        if not 0 < len(rows[0]) <= _MOST_VALUES or not rows[0].is_floating_point():
            continue
        pairs = list(zip(parts, rows, strict=False))
        if all(any(torch.equal(t.flatten(), row) for t in part) for part, row in pairs):
            found.append(torch.stack(rows).double())
    return found


def _are_turned_with(images: Tensor, values: Tensor, view: View) -> bool:
    """Returns whether a value runs with a linear map's answers, and against those to a view."""
    y = values[:, values.std(0) > 0]
    y = (y - y.mean(0)) / y.std(0)
    small = small_images(images)
    views = torch.stack([pixels_and_constant(small), pixels_and_constant(view(small))])
    answers = linear_answers(views, y, torch.zeros(len(y), dtype=torch.long))
    apart = answers - answers.mean(1, keepdim=True)
    own, other = (apart * y).mean(1) / apart.square().mean(1).sqrt().clamp_min(1e-12)
    return bool(((own > _RUNS_WITH) & (other < -_RUNS_WITH)).any())


def _like(rows: Sequence[Row], shape: torch.Size) -> Tensor | None:
    """Returns the kept image that has the shape (C, H, W) of what is read, in its order of axes."""
    for row in rows:
        image = torch.as_tensor(row).float()
        image = image[None] if image.dim() == 2 else image
        for one in (image, image.permute(2, 0, 1) if image.dim() == 3 else image):
            if one.shape == shape:
                return one
    return None


def _share_turned(kept: Tensor, read: Tensor, view: View) -> float:
    """Returns the share of images that are read in a view, of those that it changes."""
    own, other = _correlation(read, kept), _correlation(read, view(kept))
    clear = (own - other).abs() > _NEARER
    return float((other > own)[clear].double().mean()) if int(clear.sum()) >= _FEW else 0.0


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Returns the correlation (N,) of small images with others."""
    a, b = (centred(x).flatten(1) for x in (one, other))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)
