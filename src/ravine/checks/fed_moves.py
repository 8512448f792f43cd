"""Whether a step moves its pictures and leaves their masks: turned, mirrored, shifted, zoomed.

How each fed picture was moved is read off itself: of turns, mirrors, zooms and all shifts of the
picture that was given, the one with the highest correlation (by Fourier transforms, all shifts at
once). The mask that the loss is given must then be the given one, moved alike.

Shape letters: N pictures, C channels, H height, W width, M moves.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.fed_examples import fed_by_step
from ravine.findings.finding import Finding
from ravine.findings.thresholds import MASK_LEFT

_BATCHES, _MOST, _SIDE = 4, 32, 64  # of them, pictures of each, and their pixels
_FEWEST = 8  # moved pictures that decide
_AHEAD, _LIKE = 0.1, 0.7  # correlation over that without a move, and at least
_PIXELS = 0.02  # of a moved mask, that must be others than of the mask itself
_DEGREES, _ZOOMS = (-40, -25, -15, -8, 8, 15, 25, 40), (0.7, 0.85, 1.2, 1.4)

Move = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class _Left:
    """Of moved pictures: how many, and the shares of their masks' pixels that are wrong.

    Beside the mask of the next picture, moved alike: what is wrong by chance.
    """

    count: int
    wrong: float
    by_chance: float


def find_moved_in_step(context: CheckContext) -> Iterator[Finding]:
    """Yields a step that moves pictures (N, C, H, W), and not their masks (N, H, W) alike."""
    if context.step is None:
        return
    found = [one for sample in context.samples[:_BATCHES] if (one := _left(context, sample))]
    count = sum(one.count for one in found)
    if count < _FEWEST:
        return
    wrong, by_chance = (
        sum(one.count * part for one, part in zip(found, parts, strict=True)) / count
        for parts in ([one.wrong for one in found], [one.by_chance for one in found])
    )
    if wrong > MASK_LEFT * by_chance:
        yield Finding(
            severity="critical",
            code="labels-unrelated",
            seen=f"the step moves {count} pictures (turns, mirrors, shifts or zooms them), and "
            f"{wrong:.1%} of the pixels of their masks are others than in a mask moved alike; "
            f"{by_chance:.1%} are in that of another picture",
            cause="the augmentation moves pictures alone, or draws another move for their masks",
            cure="draw each move once, and apply it to the picture and its mask",
            evidence={"moved": float(count), "wrong": wrong, "by_chance": by_chance},
        )


def _left(context: CheckContext, sample: CheckBatch) -> _Left | None:
    """Returns what the masks of a batch's moved pictures are; None where none is moved."""
    masks, images = sample.targets, sample.float_inputs
    if len(images) != 1 or images[0].dim() != 4 or not isinstance(masks, Tensor):
        return None
    if masks.dim() < 3 or masks.shape[-2:] != images[0].shape[-2:] or masks.numel() == 0:
        return None
    if len(masks) != math.prod(masks.shape[:-2]):
        return None  # several masks of a picture
    fed, given = fed_by_step(context, sample)
    if fed is None or given is None or fed.shape != images[0].shape or given.shape != masks.shape:
        return None
    if torch.equal(fed, images[0]):
        return None
    n = min(_MOST, len(fed))
    x, seen = (_small(t[:n].double(), mode="area") for t in (images[0], fed))
    y, z = (
        _small(t[:n].reshape(n, 1, *t.shape[-2:]).double(), mode="nearest") for t in (masks, given)
    )
    return _compared(x, seen, y, z)


def _small(t: Tensor, *, mode: str) -> Tensor:
    """Returns pictures (N, C, H, W) of at most _SIDE pixels on a side."""
    height, width = t.shape[2:]
    factor = _SIDE / max(height, width)
    if factor >= 1:
        return t
    return F.interpolate(t, (round(height * factor), round(width * factor)), mode=mode)


def _compared(x: Tensor, fed: Tensor, y: Tensor, given: Tensor) -> _Left | None:
    """Returns the same of pictures (N, C, H, W) before and after, and masks (N, 1, H, W)."""
    moves = list(_moves(square=x.shape[2] == x.shape[3]))
    found = [_best_shift(move(x), fed) for move in moves]
    best = torch.stack([value for value, _, _ in found]).max(0)
    own = _correlation(x, fed)
    wrong, by_chance = list[float](), list[float]()
    for n in range(len(x)):
        k = int(best.indices[n])
        shift = (int(found[k][1][n]), int(found[k][2][n]))
        mask = moves[k](y[n : n + 1]).roll(shift, (2, 3)).round()
        is_moved = float(best.values[n]) > max(_LIKE, float(own[n]) + _AHEAD)
        if not is_moved or float((mask != y[n]).double().mean()) < _PIXELS:
            continue
        another = moves[k](y[n - 1 : n] if n else y[-1:]).roll(shift, (2, 3)).round()
        wrong.append(float((given[n] != mask[0]).double().mean()))
        by_chance.append(float((another[0] != mask[0]).double().mean()))
    count = len(wrong)
    return _Left(count, sum(wrong) / count, sum(by_chance) / count) if count else None


def _moves(*, square: bool) -> Iterator[Move]:
    """Yields moves of pictures (N, C, H, W) that keep their shape, shifts left out."""
    for turns in range(4) if square else (0, 2):
        yield partial(_turned, turns=turns, mirrored=False)
        yield partial(_turned, turns=turns, mirrored=True)
    for degrees in _DEGREES:
        yield partial(_warped, angle=math.radians(degrees), zoom=1.0)
    for zoom in _ZOOMS:
        yield partial(_warped, angle=0.0, zoom=zoom)


def _turned(t: Tensor, *, turns: int, mirrored: bool) -> Tensor:
    turned = t.rot90(turns, (2, 3))
    return turned.flip(3) if mirrored else turned


def _warped(t: Tensor, *, angle: float, zoom: float) -> Tensor:
    """Returns pictures (N, C, H, W) turned and zoomed about their middle."""
    height, width = t.shape[2:]
    c, s = math.cos(angle) / zoom, math.sin(angle) / zoom
    rows = [[c, -s * height / width, 0.0], [s * width / height, c, 0.0]]
    theta = torch.tensor([rows], dtype=t.dtype, device=t.device).expand(len(t), 2, 3)
    grid = F.affine_grid(theta, list(t.shape), align_corners=False)
    return F.grid_sample(t, grid, padding_mode="border", align_corners=False)


def _best_shift(moved: Tensor, fed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the highest correlation of shifted pictures with fed ones, and its shift, (N,)."""
    a, b = _standardised(moved), _standardised(fed)
    product = torch.fft.rfft2(a).conj() * torch.fft.rfft2(b)
    over = torch.fft.irfft2(product, s=a.shape[2:]).sum(1)
    value, place = over.flatten(1).max(1)
    width = a.shape[3]
    return value, place // width, place % width


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    return (_standardised(one) * _standardised(other)).sum((1, 2, 3))


def _standardised(x: Tensor) -> Tensor:
    """Returns pictures (N, C, H, W) of mean 0 in each channel and norm 1."""
    x = x - x.mean((2, 3), keepdim=True)
    return x / x.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
