"""Both ends of a symmetric operator's spectrum, by a bounded number of products.

Lanczos (1950) without reorthogonalisation: copies of eigenvalues that rounding brings about do no
harm to the ends, and nothing but three vectors is kept. It ends where the lowest eigenvalue is 0
many times over, as in convex losses, on which restarted methods that ask for convergence do not.
"""

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

_FEWEST = 8  # products before convergence is asked for


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Lowest and highest eigenvalue, as far as they are known.

    Attributes:
        low: lowest Ritz value; the lowest eigenvalue is not above it.
        high: highest Ritz value; the highest eigenvalue is not below it.
        error: an eigenvalue lies within this distance of each.
        products: with the operator, that it took.
    """

    low: float
    high: float
    error: float
    products: int


def ends_of(operator: Any, *, most: int, tolerance: float, seed: int) -> Ends:
    """Returns the ends of the spectrum of an operator (D, D).

    Args:
        operator: symmetric, with `shape`, `device`, `dtype` and products by `@`.
        most: products at most.
        tolerance: distance of both ends to an eigenvalue, over the larger of their sizes.
        seed: of the first vector.
    """
    size = operator.shape[1]
    start = torch.from_numpy(np.random.default_rng(seed).normal(size=size))
    v = (start / start.norm()).to(operator.device, operator.dtype)
    before, beta = torch.zeros_like(v), 0.0
    diagonal, off = list[float](), list[float]()
    ends = Ends(low=math.nan, high=math.nan, error=math.inf, products=0)
    for k in range(1, min(most, size) + 1):
        w = operator @ v - beta * before
        alpha = float(w.double() @ v.double())
        if not math.isfinite(alpha):
            return Ends(low=math.nan, high=math.nan, error=math.inf, products=k)
        w = w - alpha * v
        beta = float(w.double().norm())
        diagonal.append(alpha)
        ends = _ritz(diagonal, off, beta)
        scale = max(abs(ends.low), abs(ends.high), 1e-30)
        if beta <= 1e-12 * scale or (k >= _FEWEST and ends.error <= tolerance * scale):
            break
        off.append(beta)
        before, v = v, w / beta
    return ends


def _ritz(diagonal: list[float], off: list[float], beta: float) -> Ends:
    """Returns the ends of the tridiagonal matrix of k products, and its residuals' bound."""
    matrix = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
    values, vectors = np.linalg.eigh(matrix)
    error = beta * max(abs(vectors[-1, 0]), abs(vectors[-1, -1]))
    return Ends(
        low=float(values[0]),
        high=float(values[-1]),
        error=float(error),
        products=len(diagonal),
    )
