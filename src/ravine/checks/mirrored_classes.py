"""Whether images are mirrored whose class tells left from right: d and b, 6 and 9, arrows, gloves.

Nearest neighbours name the classes that a mirror exchanges: images of one, mirrored, look like the
other, and the other way round.
"""

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.findings.finding import Finding

_FEWEST = 60  # images
_SIDE = 12  # pixels, to which images are reduced
_NEIGHBOURS, _FEW = 5, 10  # and images of a class
_MOSTLY = 0.6  # of a class, which neighbours name

View = Callable[[Tensor], Tensor]
VIEWS: Final[dict[str, View]] = {
    "left to right": lambda t: t.flip(-1),
    "upside down": lambda t: t.flip(-2),
    "by half a turn": lambda t: t.flip((-2, -1)),
}


def exchanged_classes(images: Tensor, labels: Tensor, view: View) -> tuple[int, int] | None:
    """Returns two classes that a view of images (N, C, H, W) makes of each other, labels (N,)."""
    if len(images) < _FEWEST:
        return None
    small = centred(images)
    plain, turned = small.flatten(1), view(small).flatten(1)
    classes = int(labels.max()) + 1
    own, other = (_named(x, plain, labels, classes) for x in (plain, turned))
    for a in range(classes):
        for b in range(a):
            are_known = min(own[a, a], own[b, b]) > _MOSTLY
            if are_known and min(other[a, b], other[b, a]) > _MOSTLY:
                return b, a
    return None


def _named(asked: Tensor, plain: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Returns which class neighbours name, as shares of each class's images, (K, K).

    An image is no neighbour of its own views.
    """
    distance = torch.cdist(asked, plain)
    distance.fill_diagonal_(torch.inf)
    near = distance.topk(_NEIGHBOURS, largest=False).indices
    named = F.one_hot(labels[near], classes).sum(1).argmax(1)
    table = torch.zeros(classes, classes, dtype=torch.float64)
    table.index_put_((labels, named), torch.ones((), dtype=torch.float64), accumulate=True)
    counts = table.sum(1, keepdim=True)
    return torch.where(counts < _FEW, torch.zeros_like(table), table / counts.clamp_min(1))


def centred(images: Tensor) -> Tensor:
    """Returns images (N, C, H, W) small and in grey, each of mean 0."""
    size = (min(images.shape[2], _SIDE), min(images.shape[3], _SIDE))
    grey = images.double().mean(1, keepdim=True).cpu()
    reduced = F.adaptive_avg_pool2d(grey, size)
    return reduced - reduced.mean((2, 3), keepdim=True)


def mirrored_classes(how: str, share: float, pair: tuple[int, int], who: str) -> Finding:
    """Returns the finding of images that are mirrored though a mirror changes their class."""
    return Finding(
        severity="critical",
        code="labels-unrelated",
        seen=f"{who} mirrors {share:.0%} of the images {how}, and images of class {pair[0]} so "
        f"look like class {pair[1]}, and the other way round (by nearest neighbours)",
        cause="the augmentation turns one class into another and leaves the label",
        cure="leave this augmentation out, or exchange the labels of such classes with it",
        evidence={"share": share, "first": float(pair[0]), "second": float(pair[1])},
    )
