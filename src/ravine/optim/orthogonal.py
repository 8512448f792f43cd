"""The orthogonal step of a filter, of which `Muon` and `RescaledMuon` are made.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon/. A filter (c_out, c_in, k, k) counts as a matrix of c_out
rows.

Shape letters: N filters of one shape, R rows, C columns.
"""

import math

import torch
from torch import Tensor

from ravine.optim.update_rules import squarable

# f(s) = as + bs³ + cs⁵, applied five times, takes singular values of 0.01 to 1 into 0.68 to 1.14.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_TIMES = 5
_SMALLEST_NORM = 1e-7


def orthogonal(u: Tensor, *, times: int = _TIMES) -> Tensor:
    """Returns U f⁵(Σ) Vᵀ of u/‖u‖ = UΣVᵀ, by Newton-Schulz: X ← aX + (bA + cA²)X, A = XXᵀ.

    With P = aI + bA + cA² that is X ← PX and A ← PAP: all P are polynomials of the first A. Filters
    have many more columns than rows, so P is multiplied up, and meets X once.

    Args:
        u: (..., R, C), floating point. Each matrix is divided by its Frobenius norm + 1e-7.
        times: how often f is applied, at least 1.
    """
    norm = torch.linalg.vector_norm(u, dim=(-2, -1), keepdim=True, dtype=torch.float64)
    X = u / (norm + _SMALLEST_NORM).to(u.dtype)
    return _polynomial(X.mT, times).mT if u.shape[-2] > u.shape[-1] else _polynomial(X, times)


def _polynomial(X: Tensor, times: int) -> Tensor:
    """Returns U f(…f(Σ)) Vᵀ of X = UΣVᵀ, (..., R, C) with R ≤ C, f applied so many times."""
    A = X @ X.mT
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    product = P = _A * identity + _B * A + _C * (A @ A)
    for _ in range(times - 1):
        A = P @ A @ P
        P = _A * identity + _B * A + _C * (A @ A)
        product = P @ product
    return product @ X


def orthogonal_step(
    g: Tensor,
    v: Tensor,
    *,
    μ: float,
    nesterov: bool,
    times: int = _TIMES,
    precision: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns v ← μv + g, and O(g + μv); O: `orthogonal`.

    Args:
        g: (N, R, ...), the gradients of N filters of one shape.
        v: their momenta, of the same shape.
        μ: momentum.
        nesterov: O(g + μv); otherwise O(v).
        times: as of `orthogonal`.
        precision: type of the products; by default that of the momenta.
    """
    g = squarable(g)
    v = g.add(v, alpha=μ)
    u = (g.add(v, alpha=μ) if nesterov else v).flatten(2)
    return v, orthogonal(u.to(precision or u.dtype), times=times).to(v.dtype).view_as(v)


def size_of_steps(w: Tensor) -> float:
    """Returns √max(1, R/C) of filters (N, R, ...), by which O is multiplied."""
    rows, columns = w.shape[1], math.prod(w.shape[2:])
    return max(1.0, rows / max(1, columns)) ** 0.5  # no columns: nothing to move
