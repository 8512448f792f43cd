"""The orthogonal step of a filter, of which `Muon` and `RescaledMuon` are made.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon/. A filter (c_out, c_in, k, k) counts as a matrix of c_out
rows.

Shape letters: N filters of one shape, R rows, C columns.
"""

import math
from collections.abc import Sequence

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
    # Over 1e19 squares leave float32; of so many numbers float64 takes as long as a product.
    kind = torch.float32 if u.dtype is torch.bfloat16 else torch.float64
    norm = torch.linalg.vector_norm(u, dim=(-2, -1), keepdim=True, dtype=kind)
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


def orthogonal_steps_(
    g: Sequence[Tensor],
    v: Sequence[Tensor],
    *,
    μ: float,
    nesterov: bool,
    times: int = _TIMES,
    precision: torch.dtype | None = None,
) -> Tensor:
    """Moves the momenta of N filters of one shape, v ← μv + g, and returns O(g + μv), (N, R, ...).

    Args:
        g: N gradients (R, ...).
        v: their momenta, of the same shape; they are changed in place.
        μ: momentum.
        nesterov: O(g + μv); otherwise O(v).
        times: as of `orthogonal`.
        precision: type of the products; by default that of the momenta.
    """
    kind = precision or v[0].dtype
    found = []
    for slope, one in zip(map(squarable, g), v, strict=True):
        torch.add(slope, one, alpha=μ, out=one)
        found.append((slope.add(one, alpha=μ) if nesterov else one).flatten(1).to(kind))
    O = orthogonal(torch.stack(found), times=times)  # noqa: E741  # the paper's letter
    return O.to(v[0].dtype).view(len(found), *v[0].shape)


def size_of_steps(w: Tensor) -> float:
    """Returns √max(1, R/C) of a filter (R, ...), by which O is multiplied."""
    rows, columns = w.shape[0], math.prod(w.shape[1:])
    return max(1.0, rows / max(1, columns)) ** 0.5  # no columns: nothing to move
