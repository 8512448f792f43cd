"""Whether the same held-out examples are validated each time, or others made of them by chance.

Examples of one validation are compared with those of the one before. An example that is another
one, and still nearer to its own earlier form than to all others, mirrored and moved or not, was
drawn anew: an augmentation that was meant for training. In the same order its own form is the one
at its place. In another order it is one that is far nearer than the second nearest; how near that
is by chance is told by the validation before, each example of it beside the others. Several forms
of one example in one validation are averaged, and meant.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.core.nested import tensors_in
from ravine.monitor.augmented_copies import share_of_copies
from ravine.monitor.equal_patches import share_of_patches
from ravine.monitor.loop_watch import Call

_FEWEST, _NUMBERS = 16, 16  # examples, and numbers of one
_MOST, _ASKED = 256, 96  # examples of the validation before, and of the last one
_SIDE, _MOVED, _COARSE = 32, 5, 7  # pixels of reduced images, how far they are moved, of blurred
_OWN, _CHANCE = 0.35, 10  # share that is nearest to itself, and over that by chance
_NEW = 0.5  # of a validation, that is not in the one before as it is
_CERTAIN, _NEARER = 5.0, 0.96  # standard errors; of the usual distance of the nearest


def share_changed(before: Call | None, now: Call | None, classes: int = 0) -> float:
    """Returns the share of validated examples that are other forms of what they were before.

    0 where they are the same, or other examples altogether (a random part).

    Args:
        before: examples of a validation.
        now: those of the next.
        classes: that are told apart; 0 where they are not known, and no other order is.
    """
    one, other = _images(before), _images(now)
    if one is None or other is None or one.shape[1:] != other.shape[1:]:
        return 0.0
    if min(len(one), len(other)) < _FEWEST:
        return 0.0
    if len(one) == len(other):
        changed = (one != other).flatten(1).any(1)
        if not bool(changed.any()):
            return 0.0
        if _share_at_own_place(one, other) > max(_OWN, _CHANCE / len(one)):
            return float(changed.double().mean())
    if not classes:
        return 0.0
    is_new = ~torch.isin(_sums(other), _sums(one))
    copies = share_of_copies(before, now, classes) - float((~is_new).double().mean())
    if float(is_new.double().mean()) < _NEW or int(is_new.sum()) < _FEWEST:
        return max(0.0, copies)
    other = other[is_new]
    return max(0.0, copies, share_of_patches(one, other), _share_nearer(one, other))


def are_averaged(passes: Sequence[Call]) -> bool:
    """Returns whether a validation has several forms of its examples, one pass beside the next.

    Args:
        passes: of one validation, in their order.
    """
    if len(passes) < 2:
        return False
    one, other = (_images(call) for call in passes[:2])
    if one is None or other is None or one.shape != other.shape or len(one) < _FEWEST:
        return False
    return _share_at_own_place(one, other) > max(_OWN, _CHANCE / len(one))


def _share_at_own_place(one: Tensor, other: Tensor) -> float:
    """Returns the share of examples (N, …) that are nearest to what stood at their place."""
    one, other = one[:_MOST], other[:_MOST]
    places = torch.arange(len(other), device=one.device)[:: max(1, len(other) // _ASKED)]
    found = [apart.argmin(1) == places for apart in _apart(one, other[places], _MOVED)]
    return max(float(is_own.double().mean()) for is_own in found)


def _share_nearer(one: Tensor, other: Tensor) -> float:
    """Returns the share of examples (n, …) that are nearer to those of the other set by one each.

    Than the examples of either set are to the others of their own: where both are drawn alike, as
    many are nearer as are further away. 0 where it may be so by chance.
    """
    one, other = _some(one, _MOST), _some(other, _MOST)
    sets = (_apart(one, other, 0), _apart(one, one, 0), _apart(other, other, 0))
    found = [0.0]
    for apart, *inside in zip(*sets, strict=True):
        shares = []
        for near, among in zip((apart.amin(0), apart.amin(1)), inside, strict=True):
            usual = among.fill_diagonal_(torch.inf).amin(1)
            is_nearer = near.median() < _NEARER * usual.median()
            shares.append(float((near[:, None] < usual).double().mean()) if is_nearer else 0.0)
        error = (1 / len(one) + 1 / len(other)) ** 0.5 / 12**0.5
        found.append(2 * min(shares) - 1 if min(shares) - 0.5 > _CERTAIN * error else 0.0)
    return max(found)


def _some(x: Tensor, count: int) -> Tensor:
    """Returns at most `count` examples of (N, …), evenly spread."""
    return x[torch.arange(min(count, len(x))) * len(x) // min(count, len(x))]


def _sums(images: Tensor) -> Tensor:
    """Returns a number (N,) for each example that two of them share where they are the same."""
    flat = images.flatten(1)
    return flat @ torch.linspace(1, 2, flat.shape[1], dtype=flat.dtype, device=flat.device)


def _images(call: Call | None) -> Tensor | None:
    """Returns the only floating input (N, …) of a call, float64."""
    fits = [t for t in tensors_in(call) if t.is_floating_point() and t.dim() > 1]
    is_one = len(fits) == 1 and fits[0][0].numel() >= _NUMBERS
    return fits[0].double() if is_one else None


def _apart(one: Tensor, other: Tensor, moved: int) -> Iterator[Tensor]:
    """Yields the distance of each of `other` (n, …) to each of (N, …) in its nearest view, (n, N).

    Of images as they are, moved by so many pixels at most, and blurred: that leaves out noise.
    """
    if one.dim() != 4:
        yield torch.cdist(other.flatten(1), one.flatten(1))
        return
    one, other = _small(one), _small(other)
    side = min(one.shape[2:])
    yield _nearest(one, other, min(moved, max(0, (side - 4) // 2)))
    if side > _COARSE:
        one, other = (F.adaptive_avg_pool2d(t, _COARSE) for t in (one, other))
        yield _nearest(one, other, min(moved, 1))


def _nearest(one: Tensor, other: Tensor, moved: int) -> Tensor:
    inner = _inner(one, moved)
    found: Tensor | None = None
    for view in _views(other, moved):
        apart = torch.cdist(_inner(view, moved), inner)
        found = apart if found is None else torch.minimum(found, apart)
    assert found is not None
    return found


def _small(x: Tensor) -> Tensor:
    """Returns images (N, C, H, W), a whole number of pixels as one where they are large; float32.

    So a picture that is moved by that many is the same one moved.
    """
    by = -(-max(x.shape[2:]) // _SIDE)
    return (F.avg_pool2d(x, by) if by > 1 and min(x.shape[2:]) >= by else x).float()


def _views(x: Tensor, moved: int) -> Iterator[Tensor]:
    """Yields images (N, C, H, W) as they are, mirrored, and moved by some pixels."""
    for down in range(-moved, moved + 1):
        for across in range(-moved, moved + 1):
            there = x.roll((down, across), (2, 3))
            yield from (there, there.flip(3))


def _inner(x: Tensor, moved: int) -> Tensor:
    """Returns the part of images (N, C, H, W) that no move brings a border into, (N, D)."""
    height, width = x.shape[2:]
    return x[:, :, moved : height - moved, moved : width - moved].flatten(1)
