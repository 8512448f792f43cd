"""Whether the labels of pixels lie where the pictures' edges are: turned, mirrored or moved apart.

A mask explains the brightness of its own picture (share of the variance between its regions). It
must do so better than the same mask mirrored, turned or moved; where another position is better in
many pictures, the two were changed apart.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.findings.finding import Finding
from ravine.findings.thresholds import MISALIGNED

Positions = Callable[[Tensor], Iterator[Tensor]]

_FEWEST, _MOST = 24, 200  # pictures that decide, and that are looked at
_SIDE = 48  # pixels, to about which larger pictures are thinned where masks are moved
_CLEAR = 0.05  # of the variance, by which one position must be ahead
_DECIDED = 0.2  # share of the pictures that must decide
_MARKS = 0.15  # correlation of a mask with the brightness, from which on it marks something


def check_alignment(context: CheckContext) -> Iterator[Finding]:
    """Yields masks (N, H, W) that fit their pictures (N, C, H, W) better in another position."""
    pairs = [(one.float_inputs[0], one.targets) for one in context.samples if one.float_inputs]
    known = [(x, y) for x, y in pairs if _are_masks(x, y)]
    if not known:
        return
    x = torch.cat([x for x, _ in known])[:_MOST].double()
    y = torch.cat([y for _, y in known])[:_MOST]
    y = y.reshape(len(y), *y.shape[-2:]).long()
    found = list(_elsewhere(x, y, positions, "mirrored or turned"))
    step = max(1, min(y.shape[1:]) // _SIDE)
    x, y = x[..., ::step, ::step], y[:, ::step, ::step]
    yield from found or _elsewhere(x, y, _moved, "moved by some pixels")


def _elsewhere(x: Tensor, y: Tensor, positions: Positions, how: str) -> Iterator[Finding]:
    """Yields masks (N, H, W) of which many fit their pictures better in another position."""
    fits = torch.stack([_explained(x, turned, y >= 0) for turned in positions(y)], 1)
    own = fits[:, :1]
    if bool((y < 0).any()):  # both masks of a pair on the places that both judge
        own = torch.stack([_explained(x, y, turned >= 0) for turned in positions(y)], 1)
    gains = (fits - own)[:, 1:]
    ahead, behind = gains.amax(1) < -_CLEAR, gains.amax(1) > _CLEAR
    decided = int(ahead.sum() + behind.sum())
    share = float(behind.sum()) / max(1, decided)
    if decided < max(_FEWEST, _DECIDED * len(x)) or share < MISALIGNED:
        return
    # The best of several is ahead by chance where shapes are nearly symmetric; a single one is not.
    if float(share_of_wins(gains).max()) < MISALIGNED:
        return
    # A mask that has nothing to do with its picture fits badly in any position.
    strangers = torch.stack(
        [_explained(x, turned, y >= 0) for turned in positions(y.roll(1, 0))], 1
    )
    if float(fits.amax(1).median()) < 1.5 * float(strangers.amax(1).median()):
        return
    if _shows_otherwise(x, torch.stack(list(positions(y)))):
        return
    yield Finding(
        severity="critical",
        code="labels-unrelated",
        seen=f"in {share:.0%} of {decided} pictures the mask fits better {how} than as it is",
        cause="pictures are mirrored, turned or moved, and their masks are not, or by another draw",
        cure="draw each change once, and apply it to the picture and its mask",
        evidence={"share": share, "decided": float(decided)},
    )


def share_of_wins(gains: Tensor) -> Tensor:
    """Returns in which share of the pictures that tell the two apart each position is better.

    Args:
        gains: of each picture (N, P) by each position.
    """
    wins, losses = ((sign * gains > _CLEAR).double().sum(0) for sign in (1, -1))
    return wins / (wins + losses).clamp_min(_FEWEST)


def _shows_otherwise(x: Tensor, moved: Tensor) -> bool:
    """Returns whether masks of two values mark what is dark, beside something bright, or inversely.

    A shadow lies beside what throws it; a mask that was moved off its object marks nothing.

    Args:
        x: pictures (N, C, H, W).
        moved: their masks in P positions, (P, N, H, W), as they are first.
    """
    if len(moved.unique()) != 2:
        return False
    grey = x.mean(1).flatten(1)
    grey = F.normalize(grey - grey.mean(1, keepdim=True), dim=1)
    masks = moved.flatten(2).double()
    signed = (F.normalize(masks - masks.mean(2, keepdim=True), dim=2) * grey).sum(2).mean(1)
    own, best = float(signed[0]), float(signed[signed.abs().argmax()])
    return own * best < 0 and abs(own) > _MARKS


def _are_masks(x: Tensor, y: object) -> bool:
    if not isinstance(y, Tensor) or x.dim() != 4 or y.dim() not in (3, 4) or len(x) != len(y):
        return False
    alone = y.dim() == 3 or y.shape[1] == 1
    values = y.unique()
    few = len(values) <= 64 and bool((values == values.round()).all())
    return alone and y.shape[-2:] == x.shape[-2:] and few


def positions(y: Tensor) -> Iterator[Tensor]:
    """Yields masks (N, H, W) as they are and in the other positions that fit their shape."""
    square = y.shape[1] == y.shape[2]
    for turns in range(4) if square else (0, 2):
        turned = y.rot90(turns, (1, 2))
        yield turned
        yield turned.flip(2)


def _moved(y: Tensor) -> Iterator[Tensor]:
    """Yields masks (N, H, W) as they are, and moved by up to a fifth of their side."""
    yield y
    sizes = sorted({max(1, round(part * min(y.shape[1:]))) for part in (0.07, 0.14, 0.21)})
    for size in sizes:
        for down in (-size, 0, size):
            for across in (-size, 0, size):
                if down or across:
                    yield y.roll((down, across), (1, 2))


def _explained(x: Tensor, y: Tensor, judged: Tensor) -> Tensor:
    """Returns the share of a picture's variance (N, C, H, W) between the regions of (N, H, W).

    Of the channel that has most of it, (N,), over places that are judged here and in another mask.
    """
    values = x.flatten(2)
    judged = ((y >= 0) & judged).flatten(1)[:, None].to(x.dtype)
    mean = (values * judged).sum(2, keepdim=True) / judged.sum(2, keepdim=True).clamp_min(1)
    whole = ((values - mean).square() * judged).sum(2)
    between = torch.zeros_like(whole)
    for k in y[y >= 0].unique().tolist():
        member = (y == k).flatten(1)[:, None] * judged
        count = member.sum(2).clamp_min(1)
        inner = (values * member).sum(2) / count
        between += member.sum(2) * (inner - mean[..., 0]).square()
    return (between / whole.clamp_min(1e-12)).amax(1)
