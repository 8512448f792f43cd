"""Whether part of the images was mirrored without its targets: keypoints, boxes, centres, angles.

A linear map from images to values is fitted to each half and asked for the other one, for every
image as it is or mirrored, whichever fits its values better; then again on the images so chosen.
Where some were mirrored apart from their values, the chosen images are predicted far better than
the given ones, and far better than with a mirror across the other axis: the choice between two
answers alone gains as much there. A value must be hardly predicted from the given images: of one
that belongs to them, such as a horizontal place, the choice takes half the error too; and of
values that are predicted with noise, which the same errors in another order show.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.linear_map import (
    linear_answers,
    linear_errors,
    pixels_and_constant,
    small_images,
)
from ravine.findings.finding import Finding
from ravine.findings.thresholds import MIRRORED, MIRRORED_BESIDE, UNPREDICTED

_FEWEST, _MOST = 200, 2000  # images
_ROUNDS, _STARTS = 8, 3
_SHARE = 0.05  # of the images, that must be in the rarer position


def find_mirrored(samples: Sequence[CheckBatch], values: Sequence[Tensor]) -> Iterator[Finding]:
    """Yields images (N, C, H, W) of which some are mirrored and their values (N, k) are not.

    Args:
        samples: batches.
        values: of each batch.
    """
    found = _images_and_values(samples, values)
    if found is None:
        return
    x, y = found
    plain = pixels_and_constant(x)
    as_given = torch.zeros(len(x), dtype=torch.long)
    answers = linear_answers(plain[None], y, as_given)[0]
    errors = (answers - y).square().mean(0)
    if float(errors.max()) < UNPREDICTED:
        return
    given = float(errors.mean())
    views = [torch.stack([plain, pixels_and_constant(x.flip(axis))]) for axis in (3, 2)]
    chosen = [_chosen(view, y) for view in views]
    noisy = answers + (y - answers)[torch.randperm(len(y), generator=_generator())]
    for axis, (error, share) in enumerate(chosen):
        beside = chosen[1 - axis][0]
        is_far = error < MIRRORED * given and error < MIRRORED_BESIDE * beside
        if not is_far or not _SHARE < share < 1 - _SHARE:
            continue
        if error < MIRRORED_BESIDE * _chosen(views[axis], noisy)[0]:
            yield _mirrored(("left to right", "upside down")[axis], given, error, beside, share)
            return


def errors_mirrored(
    samples: Sequence[CheckBatch], values: Sequence[Tensor | None], axis: int
) -> tuple[float, float] | None:
    """Returns a linear map's error on images as they are, and mirrored, over the variance.

    None where values (N, k) or images (N, C, H, W) are too few or something else.
    """
    found = _images_and_values(samples, values)
    if found is None:
        return None
    x, y = found
    views = torch.stack([pixels_and_constant(x), pixels_and_constant(x.flip(axis))])
    given, mirrored = (
        linear_errors(views, y, torch.zeros(len(y), dtype=torch.long)).mean(1).tolist()
    )
    return given, mirrored


def targets_left(who: str, how: str, share: float) -> Finding:
    """Returns the finding that a share of the images is mirrored without its targets.

    Args:
        who: mirrors, with the verb: "the step mirrors".
        how: left to right, or upside down.
        share: of the images, in (0, 1].
    """
    return Finding(
        severity="critical",
        code="labels-unrelated",
        seen=f"{who} {share:.0%} of the images {how}, and leaves the targets as they were",
        cause="images are mirrored, and their masks, points, boxes or angles are not",
        cure="draw once whether to mirror, and mirror the targets with the image",
        evidence={"share": share},
    )


def _images_and_values(
    samples: Sequence[CheckBatch], values: Sequence[Tensor | None]
) -> tuple[Tensor, Tensor] | None:
    """Returns small images and standardised values (N, k); None where there are none, or few."""
    if not all(len(one.float_inputs) == 1 and one.float_inputs[0].dim() == 4 for one in samples):
        return None
    known = [y for y in values if y is not None]
    if len(known) < len(samples):
        return None
    x = torch.cat([small_images(one.float_inputs[0]) for one in samples])[:_MOST]
    y = torch.cat(known).double().cpu()[: len(x)]
    y = y[:, y.std(0) > 0]
    if len(x) < _FEWEST or not y.shape[1]:
        return None
    return x, (y - y.mean(0)) / y.std(0)


def _chosen(views: Tensor, y: Tensor) -> tuple[float, float]:
    """Returns the error when the better of two views (2, N, D) is chosen, and the second's share.

    The best of some beginnings, of which the first takes all as they are.
    """
    generator = _generator()
    found: list[tuple[float, float]] = []
    for start in range(_STARTS):
        choice = torch.randint(0, 2, (len(y),), generator=generator) * min(start, 1)
        for _ in range(_ROUNDS):
            now = linear_errors(views, y, choice).argmin(0)
            if torch.equal(now, choice):
                break
            choice = now
        found.append((_error(views, y, choice), float(choice.double().mean())))
    return min(found)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _error(views: Tensor, y: Tensor, choice: Tensor) -> float:
    return float(linear_errors(views, y, choice).amin(0).mean())


def _mirrored(how: str, given: float, error: float, beside: float, share: float) -> Finding:
    return Finding(
        severity="critical",
        code="labels-unrelated",
        seen=f"targets fit {min(share, 1 - share):.0%} of the images better when these are "
        f"mirrored {how}: the squared error of a linear map is {given:.2g} of their variance as "
        f"they are, {error:.2g} in the better position, and {beside:.2g} with the other mirror",
        cause="images are mirrored at random, and their points, boxes or angles are not",
        cure="mirror the targets with the image: x becomes width − 1 − x, and left and right "
        "points change places",
        evidence={"given": given, "mirrored": error, "beside": beside, "share": share},
    )
