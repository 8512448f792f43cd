"""Whether images are mirrored whose class tells left from right: d and b, 6 and 9, arrows, gloves.

Nearest neighbours name the classes that a mirror exchanges: images of one, mirrored, look like the
other, and the other way round. Whether images are mirrored at random shows in what the data set
keeps of them beside what it returns.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.stored_examples import Row, columns_of, data_set_of, random_states, rows_at
from ravine.findings.finding import Finding

_FEWEST, _MOST = 60, 1000  # images
_READ = 64  # that are compared with what is kept
_SIDE = 12  # pixels, to which images are reduced
_NEIGHBOURS, _FEW = 5, 10  # and images of a class
_MOSTLY = 0.6  # of a class, which neighbours name
_NEARER, _SHARE = 0.1, 0.2  # of a correlation; of the images that are in either position

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
    small = _small(images)
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


def _small(images: Tensor) -> Tensor:
    size = (min(images.shape[2], _SIDE), min(images.shape[3], _SIDE))
    grey = images.double().mean(1, keepdim=True).cpu()
    reduced = F.adaptive_avg_pool2d(grey, size)
    return reduced - reduced.mean((2, 3), keepdim=True)


def find_mirrored_in_data(context: CheckContext) -> Iterator[Finding]:
    """Yields a data set that mirrors images at random whose classes a mirror exchanges."""
    found = data_set_of(context.source)
    sample = context.samples[0]
    if found is None or sample.labels is None or len(sample.float_inputs) != 1:
        return
    if sample.float_inputs[0].dim() != 4:
        return
    try:
        with random_states():
            kept = _kept_and_read(*found)
    except Exception:  # the user's data set, read otherwise than it was made for
        return
    if kept is None:
        return
    images, labels, read = kept
    for how, view in VIEWS.items():
        share = _share_turned(images[: len(read)], read, view)
        pair = exchanged_classes(images, labels, view) if _SHARE < share < 1 - _SHARE else None
        if pair is not None:
            yield mirrored_classes(how, share, pair, "the data set")
            return


def _kept_and_read(rows: Any, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor] | None:
    """Returns images (N, C, H, W) as kept, labels (N,), and the first of them as they are read.

    None where the data set keeps no images and labels in columns.
    """
    columns, count = columns_of(rows), min(_MOST, len(indices))
    asked = [int(indices[n * len(indices) // count]) for n in range(count)]
    asked = [asked[n] for n in torch.randperm(count).tolist()]
    items = [rows[n] for n in asked[:_READ]]
    read = torch.stack([torch.as_tensor(item[0]).float() for item in items])
    given = [int(item[1]) for item in items]
    labels = next((y for y in _labels(columns, asked) if y[: len(given)].tolist() == given), None)
    if labels is None or read.dim() != 4 or int(labels.min()) < 0:
        return None
    kept = [_like(rows_at(columns, n), read.shape[1:]) for n in asked]
    known = [one for one in kept if one is not None]
    return (torch.stack(known), labels, read) if len(known) == count else None


def _labels(columns: Sequence[Any], asked: Sequence[int]) -> Iterator[Tensor]:
    for column in columns:
        found = [column[n] for n in asked]
        if all(getattr(one, "ndim", 0) == 0 and not isinstance(one, str) for one in found):
            yield torch.tensor([int(one) for one in found])


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
    a, b = (_small(x).flatten(1) for x in (one, other))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)


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
