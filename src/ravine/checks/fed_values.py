"""Whether a step changes in its inputs what their values (a regression's targets) measure.

Random contrast changes an amount of ink, a shift a place, standardising each image its brightness.
Where a linear map of the inputs as they are given tells the values, and of the inputs as the step
sends them through the network it leaves many times as much, for the targets that the step uses, the
targets were left as they were. Noise does that to a map too and changes nothing that is measured,
so that an input must be made of the same numbers, but for its own scale and offset. A value that no
such map tells decides nothing.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.fed_examples import fed_by_step
from ravine.checks.linear_map import linear_errors, small_images
from ravine.checks.value_relation import values_of
from ravine.findings.finding import Finding
from ravine.findings.thresholds import TOLD, UNTOLD

_BATCHES, _FEWEST = 6, 128  # batches that the step is called on, and examples of them
_TIMES = 10.0  # of what a map leaves of the given ones
_COLUMNS = 64  # of a table or a series
_ALIKE = 0.999  # correlation of inputs that are the same but for scale and offset
_REARRANGED = 0.98  # the same of each example's numbers, in the order of their size


def find_changed_values(context: CheckContext) -> Iterator[Finding]:
    """Yields a step whose change of the inputs takes from them what their values say."""
    samples = [one for one in context.samples[:_BATCHES] if values_of(one) is not None]
    if context.step is None or len(samples) < min(_BATCHES, len(context.samples)):
        return
    if any(len(one.float_inputs) != 1 for one in samples) or not _is_told(samples):
        return
    pairs = _fed_pairs(context, samples)
    if not pairs:
        return
    x, y = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    error, given = _error(x, y), _error(*_given(samples))
    if error > max(UNTOLD, _TIMES * given):
        yield Finding(
            severity="warning",
            code="step-trains-something-else",
            seen=f"a linear map of the inputs leaves {given:.0%} of the targets' variance "
            f"unexplained on other examples, and {error:.0%} as the step sends them through the "
            "network, whose targets stay",
            cause="the step's augmentation changes what the targets measure: contrast an amount, "
            "a shift or a cut a place or a size, standardising each image its brightness",
            cure="change the targets along with the inputs, or leave that augmentation out",
            evidence={"given": given, "fed": error},
        )


def _is_told(samples: Sequence[CheckBatch]) -> bool:
    """Returns whether a linear map of the inputs tells the values."""
    x, y = _given(samples)
    same = len({one.float_inputs[0].shape[1:] for one in samples}) == 1
    return same and len(x) >= _FEWEST and bool((y.std(0) > 0).all()) and _error(x, y) < TOLD


def _given(samples: Sequence[CheckBatch]) -> tuple[Tensor, Tensor]:
    """Returns features and values of the batches as they are given."""
    known = [(one.float_inputs[0], values_of(one)) for one in samples]
    pairs = [(_features(x), y.cpu()) for x, y in known if y is not None]
    if len({x.shape[1] for x, _ in pairs}) > 1 or len({y.shape[1] for _, y in pairs}) > 1:
        return torch.zeros(0, 1), torch.zeros(0, 1)
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def _fed_pairs(context: CheckContext, samples: Sequence[CheckBatch]) -> list[tuple[Tensor, Tensor]]:
    """Returns features and values of the batches as the step uses them.

    None of them where it changes the inputs by scale and offset alone, or they are not seen.
    """
    pairs: list[tuple[Tensor, Tensor]] = []
    for sample in samples:
        fed, targets = fed_by_step(context, sample)
        given = sample.float_inputs[0]
        if fed is None or targets is None or fed.shape != given.shape:
            return []
        if not targets.is_floating_point() or targets.numel() != sample.targets.numel():
            return []
        if _are_alike(given, fed) or not _are_rearranged(given, fed):
            return []
        pairs.append((_features(fed), targets.double().reshape(len(fed), -1).cpu()))
    return pairs


def _are_alike(one: Tensor, other: Tensor) -> bool:
    both = torch.stack([one.double().flatten(), other.double().flatten()])
    return bool((both.std(1) > 0).all()) and float(torch.corrcoef(both)[0, 1]) > _ALIKE


def _are_rearranged(one: Tensor, other: Tensor) -> bool:
    """Returns whether each example has its numbers in other places, or on its own scale."""
    both = [t.double().flatten(1).sort(1).values for t in (one, other)]
    a, b = (t - t.mean(1, keepdim=True) for t in both)
    size = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)
    return float(((a * b).sum(1) / size).median()) > _REARRANGED


def _features(x: Tensor) -> Tensor:
    """Returns small images or columns, with each example's mean and deviation, (N, D)."""
    flat = x.double().flatten(1).cpu()
    if x.dim() == 4:
        columns = small_images(x).flatten(1)
    else:
        columns = flat if flat.shape[1] <= _COLUMNS else flat[:, :: flat.shape[1] // _COLUMNS]
    spread = flat.std(1, keepdim=True) if flat.shape[1] > 1 else flat
    return torch.cat([columns, flat.mean(1, keepdim=True), spread], 1)


def _error(x: Tensor, y: Tensor) -> float:
    """Returns the error of a linear map on the other half over the variance, the mean of values."""
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-9)
    y = (y - y.mean(0)) / y.std(0).clamp_min(1e-9)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    return float(linear_errors(x[None], y, torch.zeros(len(y), dtype=torch.long)).mean())
