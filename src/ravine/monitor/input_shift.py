"""How inputs of validation differ from those of training: scale, circle of values, words."""

import math

import torch
from torch import Tensor

from ravine.core.nested import tensors_in
from ravine.findings.loop_record import InputShift
from ravine.monitor.loop_watch import Call

_FEWEST = 4  # examples
_MOST_KINDS = 4096  # of tokens
_EVEN, _UNEVEN = 2e-3, 0.05  # deviation of images' deviations
_COLUMNS = 64  # of a table, which are compared each for itself
_SIDE, _STARTS = 8, 8  # pixels; beginnings of a range


def input_shift(trained: Call, validated: Call) -> InputShift | None:
    """Returns how the first floating input differs, in the channel where it differs most.

    None where there is none, or its examples have another shape.
    """
    x, y = _floating(trained), _floating(validated)
    if x is None and y is None:
        x, y = _token_counts(trained, validated)
    if x is None or y is None or x.dim() != y.dim() or x.shape[1] != y.shape[1]:
        return None
    if len(x) < _FEWEST or len(y) < _FEWEST:
        return None
    is_table = x.dim() == 2 and x.shape[1] <= _COLUMNS
    columns = range(x.shape[1]) if x.dim() > 2 or is_table else (slice(None),)
    found = [_shift(x[:, c], y[:, c]) for c in columns]
    same = x.shape[1:] == y.shape[1:]
    correlation = _correlation(x.mean(0), y.mean(0)) if same else 1.0
    half = len(x) // 2
    halves = _correlation(x[:half].mean(0), x[half:].mean(0)) if same else 0.0
    most = max(found, key=lambda one: one[2] * _effect(one))
    return InputShift(
        trained=most[0],
        validated=most[1],
        deviations=most[2],
        correlation=correlation,
        halves=halves,
        evened=x.dim() == 4 and _are_evened(_unevenness(x), _unevenness(y)),
    )


def _are_evened(one: float, other: float) -> bool:
    return min(one, other) < _EVEN and max(one, other) > _UNEVEN


def _unevenness(images: Tensor) -> float:
    """Returns the deviation of the images' own deviations, over their mean."""
    spreads = images.flatten(1).std(1)
    return float(spreads.std() / spreads.mean().clamp_min(1e-12))


def wrapping(trained: Call, validated: Call) -> tuple[float, float, float] | None:
    """Returns how much smoother images (N, C, H, W) are when their range is a circle.

    Mean factor of training, and of validation, and their difference in standard errors. A value
    that runs over the end of its range begins at the other one and makes an edge, which another
    beginning of the range takes away.
    """
    x, y = _floating(trained), _floating(validated)
    if x is None or y is None or x.dim() != 4 or x.shape[1:] != y.shape[1:]:
        return None
    if min(x.shape[2:]) < _SIDE or min(len(x), len(y)) < _FEWEST:
        return None
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    if not high > low:
        return None
    size = (high - low) * 256 / 255  # of 256 levels the last one lies beside the first
    a, b = (_circular((part - low) / size) for part in (x, y))
    return float(a.mean().exp()), float(b.mean().exp()), _errors(a, b)


def _circular(x: Tensor) -> Tensor:
    """Returns the logarithm (N,) of the variation with the best beginning over that of images."""
    least = torch.stack([_variation((x + k / _STARTS) % 1) for k in range(1, _STARTS)]).amin(0)
    return (least.clamp_min(1e-9) / _variation(x).clamp_min(1e-9)).log()


def _variation(x: Tensor) -> Tensor:
    """Returns the mean absolute difference (N,) of neighbours in (N, C, H, W)."""
    down, across = (x[:, :, 1:] - x[:, :, :-1]).abs(), (x[..., 1:] - x[..., :-1]).abs()
    return down.flatten(1).mean(1) + across.flatten(1).mean(1)


def _token_counts(trained: Call, validated: Call) -> tuple[Tensor | None, Tensor | None]:
    """Returns how often each token stands in the sequences (N, T) of both, (N, V) each."""
    calls = (trained, validated)
    found = [next((t for t in tensors_in(call) if t.dim() == 2), None) for call in calls]
    known = [t for t in found if t is not None and not t.is_floating_point() and t.numel()]
    if len(known) < 2 or min(int(t.min()) for t in known) < 0:
        return None, None
    kinds = 1 + max(int(t.max()) for t in known)
    if not 4 <= kinds <= _MOST_KINDS:
        return None, None
    x, y = (
        torch.zeros(len(t), kinds, dtype=torch.float64, device=t.device).scatter_add_(
            1, t.long(), torch.ones(t.shape, dtype=torch.float64, device=t.device)
        )
        for t in known
    )
    return x, y


def _floating(call: Call) -> Tensor | None:
    fits = [t for t in tensors_in(call) if t.is_floating_point() and t.dim() > 1]
    return fits[0].double() if fits else None


Shift = tuple[tuple[float, float], tuple[float, float], float]


def _shift(x: Tensor, y: Tensor) -> Shift:
    """Returns (mean, deviation) of both, and the larger difference in standard errors.

    Compared are the means of examples, and the logarithms of their deviations.
    """
    a, b = x.reshape(len(x), -1), y.reshape(len(y), -1)
    deviations = [_errors(a.mean(1), b.mean(1))]
    if a.shape[1] > 1 and b.shape[1] > 1:
        spreads = [t.std(1).clamp_min(1e-12).log() for t in (a, b)]
        deviations.append(_errors(*spreads))
    elif a.shape[1] == b.shape[1] == 1:
        spreads = [(t[:, 0] - t.mean()).abs() for t in (a, b)]
        deviations.append(_errors(*spreads))
    return (
        (float(a.mean()), float(a.std())),
        (float(b.mean()), float(b.std())),
        max(deviations),
    )


def _errors(one: Tensor, other: Tensor) -> float:
    error = (one.var() / len(one) + other.var() / len(other)).sqrt().clamp_min(1e-12)
    return float((one.mean() - other.mean()).abs() / error)


def _effect(one: Shift) -> float:
    (mean, std), (other_mean, other_std), _ = one
    stretch = abs(math.log(max(other_std, 1e-12) / max(std, 1e-12)))
    return stretch + abs(other_mean - mean) / max(std, 1e-12)


def _correlation(one: Tensor, other: Tensor) -> float:
    a, b = one.flatten() - one.mean(), other.flatten() - other.mean()
    size = float(a.norm() * b.norm())
    return float((a * b).sum()) / size if size > 0 else 1.0
