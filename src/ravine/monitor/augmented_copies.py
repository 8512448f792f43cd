"""Whether images of validation are copies of those of training, shifted or mirrored a little.

Pictures that were augmented before they were split lie on both sides. Each image of validation is
laid over those of training in small shifts, mirrored too: a copy is then far nearer than the
twentieth part of training, while of independent pictures the nearest is hardly nearer than that.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.core.nested import tensors_in
from ravine.findings.thresholds import COPIED
from ravine.monitor.loop_watch import Call

_SIDE, _LEAST = 32, 8  # pixels, to which images are reduced, and from which on they are compared
_FEWEST, _ASKED = 100, 200  # images of training, and those that are asked of either
_BESIDE = 0.05  # of training, that is nearer
_GROUPS = 3  # times as many groups of copies as classes


def share_of_copies(trained: Call | None, validated: Call | None, classes: int) -> float:
    """Returns the share of images of validation (N, C, H, W) that have copies in training.

    0 where inputs are no images, `classes` is 0, or training has about as many groups of like
    images as classes: pictures that are drawn from one pattern for each class are no copies.
    """
    if trained is None or validated is None or not classes:
        return 0.0
    x, y = _images(trained), _images(validated)
    if x is None or y is None or x.shape[1:] != y.shape[1:] or len(x) < _FEWEST:
        return 0.0
    seen = _alike_in_scale(x)
    share = float(_are_copies(_distances(y[:_ASKED], seen)).any(1).double().mean())
    if share == 0:
        return 0.0
    group = float(_are_copies(_distances(x[:_ASKED], seen)).sum(1).double().mean())
    return share if len(x) / max(1.0, group) > _GROUPS * classes else 0.0


def _images(call: Call) -> Tensor | None:
    """Returns the images of a call, small and grey, (N, 1, H, W); None where there are none."""
    found = [t for t in tensors_in(call) if t.is_floating_point() and t.dim() == 4]
    if len(found) != 1 or min(found[0].shape[2:]) < _LEAST:
        return None
    height, width = found[0].shape[2:]
    size = (min(height, _SIDE), min(width, _SIDE))
    return F.adaptive_avg_pool2d(found[0].float().mean(1, keepdim=True), size).cpu()


def _alike_in_scale(images: Tensor) -> Tensor:
    """Returns images as rows of mean 0 and length 1, (N, D)."""
    flat = images.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _distances(images: Tensor, seen: Tensor) -> Tensor:
    """Returns the distance of each image to each row of (M, D), in the nearest view, (N, M)."""
    nearest = torch.stack([_alike_in_scale(view) @ seen.T for view in _views(images)]).amax(0)
    return (2 - 2 * nearest).clamp_min(0).sqrt()


def _views(images: Tensor) -> Iterator[Tensor]:
    for one in (images, images.flip(3)):
        for rows in (-1, 0, 1):
            for columns in (-1, 0, 1):
                yield one.roll((rows, columns), (2, 3))


def _are_copies(distance: Tensor) -> Tensor:
    """Returns which rows of training lie near enough to be copies, (N, M)."""
    beside = distance.kthvalue(1 + int(_BESIDE * distance.shape[1]), 1, keepdim=True).values
    return distance < COPIED * beside
