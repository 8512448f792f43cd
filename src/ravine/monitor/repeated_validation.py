"""Whether the same held-out examples are validated each time, or others made of them by chance.

The first examples of one validation are compared with those of the one before, place by place. An
example that is another one, and still nearer to its own earlier form than to all others, mirrored
and moved or not, was drawn anew: an augmentation that was meant for training. In another order, an
image that has a copy in the validation before and is not found there was drawn anew too.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.core.nested import tensors_in
from ravine.monitor.augmented_copies import share_of_copies
from ravine.monitor.loop_watch import Call

_FEWEST, _NUMBERS = 16, 16  # examples, and numbers of one
_SIDE, _MOVED = 24, 2  # pixels of reduced images, and how far they are moved
_OWN = 0.8  # share of the examples that are nearest to themselves


def share_changed(before: Call | None, now: Call | None, classes: int = 0) -> float:
    """Returns the share of validated examples that are other forms of what they were before.

    0 where they are the same, or other examples altogether (a random part).

    Args:
        before: examples of a validation.
        now: those of the next.
        classes: that are told apart; 0 where they are not known, and no other order is.
    """
    one, other = _images(before), _images(now)
    if one is None or other is None or one.shape != other.shape or len(one) < _FEWEST:
        return 0.0
    changed = (one != other).flatten(1).any(1)
    if not bool(changed.any()):
        return 0.0
    one, views = _small(one), list(_views(_small(other)))
    apart = torch.stack([torch.cdist(_inner(one), _inner(view)) for view in views]).amin(0)
    places = torch.arange(len(one), device=one.device)
    is_own = apart.argmin(1) == places
    if float(is_own.double().mean()) > _OWN:
        return float(changed.double().mean())
    found = torch.isin(_sums(now), _sums(before)).double().mean()
    return max(0.0, share_of_copies(before, now, classes) - float(found))


def _sums(call: Call | None) -> Tensor:
    """Returns a number (N,) for each example that two of them share where they are the same."""
    images = _images(call)
    assert images is not None
    flat = images.flatten(1)
    return flat @ torch.linspace(1, 2, flat.shape[1], dtype=flat.dtype, device=flat.device)


def _images(call: Call | None) -> Tensor | None:
    """Returns the only floating input (N, …) of a call, float64."""
    fits = [t for t in tensors_in(call) if t.is_floating_point() and t.dim() > 1]
    is_one = len(fits) == 1 and fits[0][0].numel() >= _NUMBERS
    return fits[0].double() if is_one else None


def _small(x: Tensor) -> Tensor:
    """Returns images (N, C, H, W) of at most _SIDE pixels; anything else as it is."""
    if x.dim() != 4:
        return x
    height, width = (min(_SIDE, size) for size in x.shape[2:])
    return F.adaptive_avg_pool2d(x, (height, width))


def _views(x: Tensor) -> Iterator[Tensor]:
    """Yields examples as they are; images also mirrored, and moved by some pixels."""
    if x.dim() != 4:
        yield x
        return
    for down in range(-_MOVED, _MOVED + 1):
        for across in range(-_MOVED, _MOVED + 1):
            there = x.roll((down, across), (2, 3))
            yield from (there, there.flip(3))


def _inner(x: Tensor) -> Tensor:
    """Returns examples (N, D), of images the part that no move brings a border into."""
    cut = x[:, :, _MOVED:-_MOVED, _MOVED:-_MOVED] if x.dim() == 4 and x.shape[2] > 3 * _MOVED else x
    return cut.flatten(1)
