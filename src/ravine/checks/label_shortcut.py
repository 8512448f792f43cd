"""Whether the label can be read off a small part of the picture: a frame, a caption, a watermark.

Each part (bands along the edges, and the fields of a grid) votes by its nearest neighbour alone. A
picture's class is seldom told by a twentieth of its area, and then by many parts of it. Where the
whole picture tells the class so well (easy classes, and pictures that come several times), nothing
is said. Nor may an end of the range of its values: that of pictures whose classes were prepared
apart is another number in each class.
"""

import math
import statistics
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.findings.finding import Finding
from ravine.findings.thresholds import SHORTCUT, SHORTCUT_BESIDE

_MOST, _FEWEST = 1000, 128  # examples
_NUMBERS = 96  # of a part that are compared
_GRID = 6
_CLASSES, _OF_A_KIND = 3, 8  # and pictures for each end of the range
_SMALLEST = 8  # pixels of a picture's side


def check_shortcut(context: CheckContext) -> Iterator[Finding]:
    """Yields a small part of the pictures (N, C, H, W) that tells all classes apart."""
    known = [(one.float_inputs, one.labels) for one in context.samples]
    pairs = [(x[0], y) for x, y in known if x and y is not None and len(x[0]) == len(y)]
    if not pairs or any(x.dim() != 4 or x.shape[1:] != pairs[0][0].shape[1:] for x, _ in pairs):
        return
    x, labels = (torch.cat(part)[:_MOST] for part in zip(*pairs, strict=True))
    if len(labels) < _FEWEST or min(x.shape[2:]) < _SMALLEST or len(labels.unique()) < 2:
        return
    if _accuracy(x, labels) > SHORTCUT_BESIDE and _accuracy(_inner(x), labels) > SHORTCUT_BESIDE:
        return
    yield from _by_an_end(x, labels)
    found = {name: _accuracy(part, labels) for name, part in _parts(x).items()}
    best = max(found, key=lambda name: found[name])
    beside = statistics.median(found.values())
    if found[best] >= SHORTCUT and beside <= SHORTCUT_BESIDE:
        classes = len(labels.unique())
        yield Finding(
            severity="note" if classes == 2 else "warning",
            code="label-in-input",
            seen=f"{best} of the pictures alone tells {found[best]:.1%} of the labels of "
            f"{classes} classes; the middle one of {len(found)} such parts {beside:.1%}",
            cause="the label is drawn into the picture, or each class was recorded in its own way "
            "(a frame, a caption, a watermark)",
            cure="look at that part of some pictures (ravine data draws them), and cut it off or "
            "cover it",
            evidence={"accuracy": found[best], "beside": beside, "examples": float(len(labels))},
        )


def _by_an_end(x: Tensor, labels: Tensor) -> Iterator[Finding]:
    """Yields pictures (N, C, H, W) whose least or largest value is one and the same in a class."""
    for name, ends in (("least", x.flatten(1).amin(1)), ("largest", x.flatten(1).amax(1))):
        kinds, places = ends.unique(return_inverse=True)
        classes = labels.unique()
        if len(classes) < _CLASSES or not len(classes) <= len(kinds) <= len(labels) // _OF_A_KIND:
            continue
        table = torch.stack([places[labels == k].bincount(minlength=len(kinds)) for k in classes])
        share = float(table.amax(0).sum()) / len(labels)
        if share >= SHORTCUT:
            yield Finding(
                severity="warning",
                code="label-in-input",
                seen=f"the {name} value of a picture is one of {len(kinds)} numbers, and alone "
                f"tells {share:.1%} of the labels of {len(classes)} classes",
                cause="each class was prepared by itself: its folder was scaled, or standardised, "
                "with its own mean and deviation",
                cure="take the statistics of all training pictures together, for training and "
                "validation alike",
                evidence={"accuracy": share, "kinds": float(len(kinds))},
            )
            return


def _parts(x: Tensor) -> Mapping[str, Tensor]:
    """Returns bands along the edges and fields of a grid of (N, C, H, W), by name."""
    height, width = x.shape[2:]
    high, wide = max(1, height // 12), max(1, width // 12)
    found = {
        f"the top {_rows(high)}": x[:, :, :high],
        f"the bottom {_rows(high)}": x[:, :, -high:],
        f"the left {_rows(wide, 'column')}": x[..., :wide],
        f"the right {_rows(wide, 'column')}": x[..., -wide:],
    }
    for row, above in enumerate(x.tensor_split(_GRID, 2)):
        for column, field in enumerate(above.tensor_split(_GRID, 3)):
            found[f"field {row + 1}, {column + 1} of {_GRID} × {_GRID}"] = field
    return found


def _inner(x: Tensor) -> Tensor:
    """Returns (N, C, H, W) without its edges."""
    high, wide = (max(1, size // _GRID) for size in x.shape[2:])
    return x[:, :, high:-high, wide:-wide]


def _rows(count: int, what: str = "row") -> str:
    return f"{what} of pixels" if count == 1 else f"{count} {what}s of pixels"


def _accuracy(part: Tensor, labels: Tensor) -> float:
    """Returns the share of examples whose nearest other one in a part has their label.

    Of several that are equally near (a part without content) no one counts.
    """
    flat = part.flatten(1).double()
    flat = flat[:, :: math.ceil(flat.shape[1] / _NUMBERS)]
    distance = torch.cdist(flat, flat).fill_diagonal_(math.inf)
    nearest = distance <= distance.amin(1, keepdim=True)
    same = labels[:, None] == labels[None]
    return float((nearest & same).sum(1).div(nearest.sum(1)).mean())
