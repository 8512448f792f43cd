"""Labels that come later in an epoch than the batches that are checked: sorted, or of one class.

A loader's sampler says in which order its data set is read, and some rows of all of it are read. A
stream that can be begun anew is read on for a moment.
"""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ravine.checks.check_batch import take_batches
from ravine.core.errors import SettingError
from ravine.core.preserve_random import preserve_random

_ROWS, _BATCHES, _SECONDS = 64, 256, 1.0
_MOST = 1 << 20  # indices of a sampler


def labels_ahead(batches: Any, device: torch.device, *, seen: int) -> Tensor | None:
    """Returns labels (N,) from all of an epoch, or from what is read of it in a second, or None.

    Args:
        batches: as they were given: a list, a loader, or anything that can be iterated again.
        device: of the labels.
        seen: batches that were read already.
    """
    sampler = getattr(batches, "sampler", None)
    sources = {getattr(one, "generator", None) for one in (batches, sampler)}
    try:
        with preserve_random(*(one for one in sources if one is not None)):
            rows = _by_sampler(batches)
            found = _read_on(batches, device, seen) if rows is None else rows
    except Exception:  # the user's data set, in an order that it may not be made for
        return None
    return found


def _by_sampler(batches: Any) -> Tensor | None:
    rows, sampler = (getattr(batches, name, None) for name in ("dataset", "sampler"))
    if rows is None or sampler is None or isinstance(rows, IterableDataset):
        return None
    order = list(itertools.islice(iter(sampler), _MOST))
    asked, began, found = order[:: max(1, len(order) // _ROWS)], time.monotonic(), list[int]()
    for index in asked:
        found.append(int(rows[index][-1]))
        if time.monotonic() - began > _SECONDS:
            return None  # the end was not reached
    return torch.tensor(found) if found else None


def _read_on(batches: Any, device: torch.device, seen: int) -> Tensor | None:
    if iter(batches) is batches:
        return None  # what is read of it is gone
    found, began = list[Tensor](), time.monotonic()
    for batch in _later(batches, seen):
        try:
            labels = take_batches([batch], device)[0].labels
        except SettingError:
            return None
        found += [] if labels is None else [labels]
        if time.monotonic() - began > _SECONDS:
            break
    return torch.cat(found) if found else None


def _later(batches: Any, seen: int) -> Iterator[Any]:
    return itertools.islice(iter(batches), seen, seen + _BATCHES)
