"""The target's own floor: the loss that is left where a network has learnt all there is to learn.

A cross-entropy is never below the entropy of its targets, which is 0 only for hard labels: label
smoothing, mixup and cutmix raise it. A high loss is judged by what lies above this floor.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.core.minimise import minimise

_NODES: Final = 64  # of λ
_CENTRES: Final = 32  # of a box, along each side
_MOST: Final = 1 << 18  # numbers in an output; minimising over more takes too long
_ITERATIONS: Final = 50
_SLACK: Final = 0.01  # of shares and of a loss that were computed in bfloat16

Array = NDArray[np.float64]


def expected_floor(
    classes: int, *, label_smoothing: float = 0.0, mixup: float = 0.0, cutmix: float = 0.0
) -> float:
    """Returns the expected entropy of mixed and smoothed targets, in nats.

    A target is q = (1−s)·(λ e_a + (1−λ) e_b) + s/K. With η(x) = −x ln x, u = s/K and v = 1−s:

        H(λ) = η(vλ + u) + η(v(1−λ) + u) + (K−2) η(u)        for a ≠ b, of share 1 − 1/K
        H₁   = η(v + u) + (K−1) η(u)                         for a = b, of share 1/K

    Mixup takes the mean of H over λ ~ Beta(α, α); for s = 0 it is ψ(2α+1) − ψ(α+1). Cutmix takes
    it over the share of the image that stays: a square of the area 1−λ around an even centre is
    cut off at the edges. With both, each batch takes one or the other with probability 1/2.
    Classes are taken for equally frequent.

    Args:
        classes: K ≥ 2.
        label_smoothing: s in [0, 1).
        mixup: its α, 0 for off.
        cutmix: its α, 0 for off.

    >>> round(expected_floor(10), 6), round(expected_floor(10, mixup=1.0), 6)
    (0.0, 0.45)
    """
    means = [
        _expected_entropy(classes, label_smoothing, *kept) for kept in mixing_shares(mixup, cutmix)
    ]
    return float(np.mean(means)) if means else _unmixed(classes, label_smoothing)


def mixing_shares(mixup: float, cutmix: float) -> list[tuple[Array, Array]]:
    """Returns for mixup and for cutmix, where on, shares of an image and their weights, (n,) each.

    Args:
        mixup: its α, 0 for off.
        cutmix: its α, 0 for off.
    """
    return [
        *([_beta(mixup)] if mixup > 0 else []),
        *([_kept_areas(cutmix)] if cutmix > 0 else []),
    ]


def _eta(share: Array | float) -> Array:
    """Returns η(x) = −x ln x of shares of any shape; 0 at 0."""
    x = np.asarray(share, np.float64)
    return np.where(x > 0, -x * np.log(np.where(x > 0, x, 1.0)), 0.0)


def _unmixed(classes: int, smoothing: float) -> float:
    other = smoothing / classes
    return float(_eta(1 - smoothing + other) + (classes - 1) * _eta(other))


def _expected_entropy(classes: int, smoothing: float, shares: Array, weights: Array) -> float:
    other, kept = smoothing / classes, 1 - smoothing
    both = _eta(kept * shares + other) + _eta(kept * (1 - shares) + other)
    mixed = float(weights @ (both + (classes - 2) * _eta(other)))
    return mixed + (_unmixed(classes, smoothing) - mixed) / classes


def _beta(alpha: float) -> tuple[Array, Array]:
    """Returns nodes and weights of Beta(α, α): Gauss-Jacobi, exact to degree 127.

    They are the eigenvalues of the recurrence of its polynomials, and the squares of the first
    components of its eigenvectors: Golub, Welsch, "Calculation of Gauss quadrature rules", 1969.
    """
    n = np.arange(2, _NODES)  # the first, 1/(2α+1), would be 0/0 for α = 1/2
    squares = n * (n + 2 * alpha - 2) / ((2 * n + 2 * alpha - 3) * (2 * n + 2 * alpha - 1))
    beside = np.sqrt(np.concatenate([[1 / (2 * alpha + 1)], squares]))
    at, vectors = np.linalg.eigh(np.diag(beside, 1) + np.diag(beside, -1))
    return (1 + at) / 2, vectors[0] ** 2


def _kept_areas(alpha: float) -> tuple[Array, Array]:
    """Returns shares of an image that stay in cutmix, and their weights."""
    shares, weights = _beta(alpha)
    half = np.sqrt(1 - shares)[:, None] / 2
    centres = (np.arange(_CENTRES) + 0.5) / _CENTRES
    sides = np.minimum(centres + half, 1) - np.maximum(centres - half, 0)
    kept = 1 - sides[:, :, None] * sides[:, None, :]
    return kept.ravel(), np.repeat(weights, _CENTRES**2) / _CENTRES**2


class _LowEnough(Exception):
    """Ends a search at a loss that is low enough."""

    def __init__(self, loss: float) -> None:
        super().__init__(loss)
        self.loss = loss


def measured_floor(
    loss: Callable[[Any, Any], Tensor],
    output: object,
    targets: Any,
    *,
    alike: bool = False,
    enough: float = -math.inf,
) -> float | None:
    """Returns the least loss that any output could have on these targets, by L-BFGS from 0.

    Args:
        loss: of (output, targets) to a 0-dim tensor.
        output: a tensor (N, ...), for its shape and type alone.
        targets: what the loss compares with.
        alike: the output is the same for all N examples: the best of a network that
            ignores its input.
        enough: a loss at which the search may end: the floor is no higher.

    Returns:
        None where it cannot be found: the output is not one tensor of at most 2¹⁸ numbers, the
        loss takes something else, is not finite on the way, or has no least value.
    """
    fits = isinstance(output, Tensor) and output.dim() > 0 and output.is_floating_point()
    if not isinstance(output, Tensor) or not fits or output.numel() > _MOST:
        return None
    free = output.detach()[:1] if alike else output.detach()

    def value(numbers: Array) -> tuple[float, Array]:
        x = torch.from_numpy(numbers).to(free).reshape(free.shape).requires_grad_()
        with torch.enable_grad():
            found = loss(x.expand(output.shape), targets)
            (slope,) = torch.autograd.grad(found, x)
        if float(found.detach()) <= enough:
            raise _LowEnough(float(found.detach()))
        return float(found.detach()), slope.double().flatten().cpu().numpy()

    try:
        # Not torch's L-BFGS, whose first use loads a second of torch's compiler.
        found = minimise(
            value,
            np.zeros(free.numel()),
            iterations=_ITERATIONS,
            evaluations=_ITERATIONS,
            least_gain=1e-9,
            least_gradient=1e-7,
        )
    except _LowEnough as low:
        return low.loss
    except Exception:
        return None
    steep = float(np.abs(found.gradient).max()) * max(1, len(output))
    return float(found.value) if np.isfinite(found.value) and steep < 0.05 else None


def floor_of_softmax(logits: Tensor, slope: Tensor, loss: Tensor | float) -> Tensor:
    """Returns the mean entropy of the targets that a cross-entropy was given, without them.

    The gradient of a mean cross-entropy by the logits is (p − q)/N with p their softmax, so that
    the targets are q = p − N·gradient. They are believed where they are shares and give the loss.

    Args:
        logits: (N, K).
        slope: (N, K), dL/d(logits).
        loss: that belongs to them, 0-dim.

    Returns:
        0-dim float64 on the device; NaN where the loss is something else, scaled or weighted.
    """
    logarithms = logits.double().log_softmax(1)
    targets = logarithms.exp() - len(logits) * slope.double()
    are_shares = (targets.min() > -_SLACK) & (targets.max() < 1 + _SLACK)
    targets = targets.clamp_min(0)
    value = -(targets * logarithms).sum(1).mean()
    given = torch.as_tensor(loss, dtype=torch.float64, device=value.device).detach()
    agrees = (value - given).abs() < _SLACK * given.abs() + 1e-4
    entropy = torch.special.entr(targets).sum(1).mean()
    return torch.where(are_shares & agrees, entropy, torch.nan)


def known_floor(floors: Sequence[float]) -> float:
    """Returns the median of the floors that were found, 0 unless most were."""
    known = [one for one in floors if np.isfinite(one)]
    return float(np.median(known)) if are_known(floors) else 0.0


def are_known(floors: Sequence[float]) -> bool:
    """Returns whether most of some floors were found: the loss is a mean cross-entropy."""
    return 2 * sum(map(math.isfinite, floors)) > len(floors)
