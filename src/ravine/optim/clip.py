"""Remedies for exploding gradients: pure functions of gradients.

By global norm: Pascanu, Mikolov, Bengio 2013. Adaptively, by the ratio of the norms of
gradient and weights per unit: AGC, Brock et al. 2021; or by the norms of the last steps, their
median and its spread on the logarithmic scale.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST_WEIGHT_NORM = 1e-3  # AGC's floor, so that rows that start at zero can move
_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_LEAST_SIGMA = 0.05  # of the log norm: steady norms alone are no reason to clip


def norms(gradients: Sequence[Tensor]) -> Tensor:
    """Returns the 2-norm of each of P tensors of any shapes, (P,) float64.

    Finite gradients have finite norms. On the CPU, where reading costs nothing, norms are taken
    in the gradients' own precision, and again in double precision only if one has overflowed.
    """
    held = list(gradients)
    if not held:
        return torch.zeros(0, dtype=torch.float64)
    if held[0].device.type == "cpu":
        quick = torch.stack(list(torch._foreach_norm(held))).double()
        if bool(quick.isfinite().all()):
            return quick
    return torch.stack(list(torch._foreach_norm(held, 2, torch.float64)))


def norm_scale(norm: Tensor, limit: float | Tensor) -> Tensor:
    """Returns c/‖g‖ where ‖g‖ > c, else 1; 0-dim float64.

    Args:
        norm: ‖g‖, 0-dim float64.
        limit: c > 0, a number or a 0-dim tensor.
    """
    return torch.where(norm > limit, limit / norm, torch.ones_like(norm))


def robust_limit(log_norms: Tensor, seen: Tensor, *, z: float, least: int) -> Tensor:
    """Returns exp(m + zσ), m the median of the log norms, σ 1.4826 times their median distance.

    The median and the median distance of the last norms do not follow single spikes, as mean and
    variance do.

    Args:
        log_norms: (W,) float64, NaN where no norm has been recorded yet.
        seen: 0-dim int64, how many norms have been recorded.
        z: how many σ above the median the limit lies.
        least: recorded norms from which on the limit is finite.

    Returns:
        0-dim float64.
    """
    m = log_norms.nanmedian()
    σ = (_MAD_TO_SIGMA * (log_norms - m).abs().nanmedian()).clamp(min=_LEAST_SIGMA)
    return torch.where(seen >= least, (m + z * σ).exp(), torch.inf)


def by_value(gradient: Tensor, limit: float) -> Tensor:
    """Returns the gradient (any shape) with each component limited to [−c, c], c > 0."""
    return gradient.clamp(-limit, limit)


def by_unit(weight: Tensor, gradient: Tensor, limit: float) -> Tensor:
    """Returns g_i · λ max(‖w_i‖, 1e-3)/‖g_i‖ where ‖g_i‖ exceeds λ max(‖w_i‖, 1e-3), else g_i.

    Args:
        weight: (R, ...) with R rows i; for a convolution a row is a filter.
        gradient: of the same shape.
        limit: λ > 0.
    """
    most = limit * _row_norms(weight).clamp(min=_LEAST_WEIGHT_NORM)
    size = _row_norms(gradient)
    factor = torch.where(size > most, most / size, torch.ones_like(size))
    return gradient * factor.to(gradient.dtype)


def _row_norms(rows: Tensor) -> Tensor:
    others = tuple(range(1, rows.dim()))
    return torch.linalg.vector_norm(rows.double(), dim=others, keepdim=True)
