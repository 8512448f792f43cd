"""Whether the cells of a grid of targets lie where their pictures show something: a detector's.

The brightness and the contrast of a picture in each cell go along with what the target says of it,
or with what it says of the transposed, mirrored or turned cell. Where only one of these goes along,
and the network's outputs are local, targets were written to `grid[x, y]` in place of `grid[y, x]`.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.mask_alignment import positions
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import GRID_APART, GRID_FITS

_FEWEST, _MOST = 64, 512  # pictures
_LEAST, _COARSER = 3, 2  # cells of a side, and pixels of a cell's
_BY_CHANCE = 8.0  # deviations of a correlation
_LOCAL = 2.0  # times as much as the cells across change where a corner is blanked


def check_grid(context: CheckContext) -> Iterator[Finding]:
    """Yields grids of targets, (N, C, S, S), that fit their pictures in another position alone."""
    found = [(one.float_inputs[0], grid) for one in context.samples
             if len(one.float_inputs) == 1 and (grid := _grid(one)) is not None]  # fmt: skip
    if len(found) < len(context.samples) or sum(len(x) for x, _ in found) < _FEWEST:
        return
    x = torch.cat([x for x, _ in found])[:_MOST].double()
    y = torch.cat([y for _, y in found])[:_MOST].double()
    signals = _signals(x, y.shape[2])
    fits = [_fit(signals, _turned(y, n)) for n in range(len(list(positions(y[:, 0]))))]
    own, best = fits[0], max(fits[1:])
    by_chance = _BY_CHANCE / y[:, 0].numel() ** 0.5
    if best < max(GRID_FITS, by_chance) or own > GRID_APART * best or not _is_local(context):
        return
    yield Finding(
        severity="critical",
        code="labels-unrelated",
        seen=f"what the pictures show in each of {y.shape[2]} by {y.shape[3]} cells has a "
        f"correlation of {own:.2f} with the targets there, and of {best:.2f} with those of the "
        "transposed, mirrored or turned grid",
        cause="x and y are exchanged, or counted from the other end, where targets are written "
        "into their cells",
        cure="write grid[..., row, column] with row = int(y · S) and column = int(x · S); draw a "
        "picture with its cells",
        evidence={"own": own, "best": best},
    )


def _grid(sample: CheckBatch) -> Tensor | None:
    """Returns the targets (N, C, S, S) of cells of the pictures; None where there are none."""
    if not sample.float_inputs or sample.float_inputs[0].dim() != 4:
        return None
    images = sample.float_inputs[0]
    for t in tensors_in(sample.targets):
        grid = _channels_first(t[:, None] if t.dim() == 3 else t)
        if grid.dim() != 4 or len(grid) != len(images) or grid.shape[2] != grid.shape[3]:
            continue
        sides = images.shape[2:]
        if sides[0] == sides[1] and _LEAST <= grid.shape[2] <= sides[0] // _COARSER:
            return grid
    return None


def _channels_first(t: Tensor) -> Tensor:
    """Returns a grid (N, C, S, S) of one that may be (N, S, S, C)."""
    is_last = t.dim() == 4 and t.shape[1] == t.shape[2] != t.shape[3]
    return t.permute(0, 3, 1, 2) if is_last else t


def _turned(y: Tensor, place: int) -> Tensor:
    """Returns grids (N, C, S, S) in one of the positions of a square."""
    return torch.stack([list(positions(one))[place] for one in y.unbind(1)], 1)


def _signals(x: Tensor, side: int) -> Tensor:
    """Returns brightness and contrast of pictures (N, C, H, W) in each cell, (N, 2 C, S, S)."""
    mean = F.adaptive_avg_pool2d(x, side)
    contrast = (F.adaptive_avg_pool2d(x.square(), side) - mean.square()).clamp_min(0).sqrt()
    return torch.cat([mean, contrast], 1)


def _fit(signals: Tensor, y: Tensor) -> float:
    """Returns the largest correlation of a signal, (N, F, S, S), with a target, (N, C, S, S).

    Beyond what each cell has on average.
    """
    rows = [(t - t.mean(0)).transpose(0, 1).flatten(1) for t in (signals, y)]
    a, b = (t / t.norm(dim=1, keepdim=True).clamp_min(1e-12) for t in rows)
    return float((a @ b.T).abs().max())


def _is_local(context: CheckContext) -> bool:
    """Returns whether outputs change most where the picture does: a blanked corner tells."""
    sample = context.samples[0]
    images = sample.float_inputs[0]
    half = images.shape[2] // 2
    blanked = images.clone()
    blanked[:, :, :half, -half:] = 0
    inputs = map_tensors(sample.inputs, lambda t: blanked if t is images else t)
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        pairs = [
            tensors_in(context.output(CheckBatch(inputs=i, targets=sample.targets, original=None)))
            for i in (sample.inputs, inputs)
        ]
    for one, other in zip(*(map(_channels_first, each) for each in pairs), strict=False):
        if one.dim() == 4 and one.shape == other.shape and one.shape[2] == one.shape[3] > 1:
            moved, part = (one - other).abs().mean((0, 1)), one.shape[2] // 2
            return bool(moved[:part, -part:].mean() > _LOCAL * moved[-part:, :part].mean())
    return False
