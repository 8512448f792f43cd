"""Whether mixed targets have their shares in the order of the images they belong to.

Mixup and cutmix give an image two classes. A linear map from images to shares is fitted to the
targets as they are, and with the two largest shares of each exchanged: what is right fits better.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.linear_map import linear_errors, pixels_and_constant, small_images
from ravine.findings.finding import Finding
from ravine.findings.thresholds import EXCHANGED

_FEWEST, _MOST = 200, 2000  # examples
_MIXED = 0.1  # share of a second class; share of the examples that have one
_FEATURES = 1024  # of an input that is no image


def find_exchanged_shares(samples: Sequence[CheckBatch]) -> Iterator[Finding]:
    """Yields targets (N, K) of two shares each that fit the inputs better when exchanged."""
    targets = [_shares(one) for one in samples]
    inputs = [_features(one) for one in samples]
    if any(y is None for y in targets) or any(x is None for x in inputs):
        return
    y = torch.cat([y for y in targets if y is not None])[:_MOST]
    x = pixels_and_constant(torch.cat([x for x in inputs if x is not None])[:_MOST])
    first, second = y.topk(2, 1).values.unbind(1)
    is_mixed = (second > _MIXED) & (first - second > _MIXED)
    if int(is_mixed.sum()) < max(_FEWEST, _MIXED * len(y)) or x.shape[1] > _FEATURES + 1:
        return
    own, other = (_errors(x, one) for one in (y, _exchanged(y)))
    gains = (own - other)[is_mixed]
    certain = float(gains.mean()) / max(float(gains.std()), 1e-12) * math.sqrt(len(gains))
    if certain > EXCHANGED:
        yield _finding(float(own.mean()), float(other.mean()), certain)


def _errors(x: Tensor, y: Tensor) -> Tensor:
    everyone = torch.zeros(len(y), dtype=torch.long)
    return linear_errors(x[None], y - y.mean(0), everyone)[0]


def _shares(sample: CheckBatch) -> Tensor | None:
    y = sample.targets
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.dim() != 2 or y.shape[1] < 3:
        return None
    are_shares = bool((y >= 0).all()) and bool(((y.sum(1) - 1).abs() < 1e-2).all())
    return y.double().cpu() if are_shares else None


def _features(sample: CheckBatch) -> Tensor | None:
    tensors = sample.float_inputs
    if len(tensors) != 1:
        return None
    x = tensors[0]
    return (small_images(x) if x.dim() == 4 else x.double().cpu()).flatten(1)


def _exchanged(y: Tensor) -> Tensor:
    """Returns rows (N, K) whose two largest numbers have changed places."""
    values, places = y.topk(2, 1)
    return y.scatter(1, places, values.flip(1))


def _finding(own: float, other: float, certain: float) -> Finding:
    return Finding(
        severity="critical",
        code="labels-unrelated",
        seen="mixed targets fit their inputs better when the two largest shares of each change "
        f"places: the squared error of a linear map is {own:.3g} as they are and {other:.3g} so "
        f"({certain:.1f} standard errors)",
        cause="images are mixed as λ and 1 − λ, and their labels as 1 − λ and λ",
        cure="give the label of each image the share that the image has: λ·y + (1 − λ)·y[order]",
        evidence={"own": own, "exchanged": other, "certain": certain},
    )
