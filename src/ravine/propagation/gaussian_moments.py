"""Moments of functions of nearly normal variables, in float64.

Rectifiers in closed form; any other function by Gauss-Hermite quadrature. A variable may be
skew, which counts to first order: the density is that of the normal one times 1 + γ/6·He₃(z)
(Edgeworth 1905). How a function changes correlations follows from its Hermite coefficients,
Cov(φ(x), φ(y)) = Σ a_k² ρᵏ (Daniely, Frostig, Singer 2016).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
_NODES, _DEGREES = 33, 8
_REST = 16  # the power of the correlation for all degrees above _DEGREES
_MOST_SKEW = 1.0  # above it the density would be negative in places


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of φ(x): E[φ], Var φ, third cumulant, E[φ'], E[φ'²], E[x φ'], each of the shape of x."""

    mean: Tensor
    var: Tensor
    third: Tensor
    slope: Tensor
    slope_square: Tensor
    along: Tensor


def rectifier_moments(
    mean: Tensor, var: Tensor, slope: float = 0.0, *, third: Tensor | None = None
) -> Moments:
    """Returns the moments of max(x, 0) + `slope`·min(x, 0), each of the shape of `mean`.

    Args:
        mean: (D), of x.
        var: (D).
        slope: below 0; that of leaky ReLU.
        third: (D), the third cumulant of x; None for 0.

    >>> m = rectifier_moments(torch.zeros(1), torch.ones(1))
    >>> round(float(m.mean), 4), round(float(m.var), 4)  # 1/√(2π) and 1/2 − 1/(2π)
    (0.3989, 0.3408)
    """
    σ = var.clamp_min(1e-300).sqrt()
    γ = _skewness(third, σ)
    t = mean / σ
    normal = 0.5 * torch.erfc(-t / math.sqrt(2))
    density = torch.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    above = (normal + γ / 6 * (t**2 - 1) * density).clamp(0, 1)
    # E[xᵏ; x > 0]: of the normal variable, and γσ³∕6 times its third derivative by the mean.
    first = mean * normal + σ * density - γ / 6 * σ * t * density
    second = (mean**2 + var) * normal + mean * σ * density + γ / 3 * var * density
    cube = (mean**3 + 3 * mean * var) * normal + (mean**2 + 2 * var) * σ * density
    cube = cube + γ * σ**3 * normal
    m = slope * mean + (1 - slope) * first
    square = slope**2 * (mean**2 + var) + (1 - slope**2) * second
    whole = mean**3 + 3 * mean * var + γ * σ**3
    return Moments(
        mean=m,
        var=(square - m**2).clamp_min(0.0),
        third=slope**3 * whole + (1 - slope**3) * cube - 3 * m * square + 2 * m**3,
        slope=slope + (1 - slope) * above,
        slope_square=slope**2 + (1 - slope**2) * above,
        along=m,
    )


def function_moments(
    function: Function, mean: Tensor, var: Tensor, *, third: Tensor | None = None
) -> Moments:
    """Returns the moments of any function φ, each of the shape of `mean`.

    Args:
        function: φ, on values (n, D) element by element.
        mean: (D), of x.
        var: (D).
        third: (D), the third cumulant of x; None for 0.
    """
    z, weight = _nodes(_NODES, mean)
    σ = var.clamp_min(0.0).sqrt()
    weight = weight * (1 + _skewness(third, σ) / 6 * (z**3 - 3 * z))
    x = mean + σ * z
    return _weighted_moments(function, x, weight)


def _weighted_moments(function: Function, x: Tensor, weight: Tensor) -> Moments:
    """Returns the moments of φ(x) at nodes (n, D) with weights that broadcast to them."""
    y, slope = _with_slope(function, x)
    m = (weight * y).sum(0)
    return Moments(
        mean=m,
        var=((weight * y**2).sum(0) - m**2).clamp_min(0.0),
        third=(weight * (y - m) ** 3).sum(0),
        slope=(weight * slope).sum(0),
        slope_square=(weight * slope**2).sum(0).clamp_min(0.0),
        along=(weight * slope * x).sum(0),
    )


def _skewness(third: Tensor | None, σ: Tensor) -> Tensor:
    if third is None:
        return torch.zeros_like(σ)
    return (third / σ.clamp_min(1e-100) ** 3).nan_to_num(0.0).clamp(-_MOST_SKEW, _MOST_SKEW)


def _nodes(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns quadrature nodes and weights (n, 1, …) for the standard normal."""
    z, weight = np.polynomial.hermite_e.hermegauss(count)
    shape = (-1, *(1,) * like.dim())
    return (
        torch.tensor(z).to(like).reshape(shape),
        torch.tensor(weight / weight.sum()).to(like).reshape(shape),
    )


def _with_slope(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        # A copy, for a function that works in place.
        y = function(leaf.clone())
        (slope,) = torch.autograd.grad(y.sum(), leaf)
    return y.detach(), slope


def hermite_shares(function: Function, mean: Tensor, var: Tensor) -> list[float]:
    """Returns the share of Var φ(x) in each Hermite degree from 1 on; the last is the rest.

    Averaged over the elements of `mean` and `var`, (D) both, with their variances.

    >>> [round(s, 3) for s in hermite_shares(torch.relu, torch.zeros(1), torch.ones(1))[:2]]
    [0.733, 0.234]
    """
    shape = (-1, *(1,) * mean.dim())
    z = torch.linspace(-8, 8, 257, dtype=torch.float64, device=mean.device).reshape(shape)
    weight = torch.exp(-(z**2) / 2)
    weight = weight / weight.sum()
    with torch.no_grad():
        y = function(mean + var.clamp_min(0.0).sqrt() * z)
    centred = y - (weight * y).sum(0)
    whole = float((weight * centred**2).sum())
    if whole <= 0 or not math.isfinite(whole):
        return [1.0, *(0.0,) * _DEGREES]
    before, now = torch.ones_like(z), z
    shares = []
    for k in range(1, _DEGREES + 1):
        coefficient = (weight * centred * now).sum(0)
        shares.append(float((coefficient**2).sum()) / math.factorial(k) / whole)
        before, now = now, z * now - k * before
    return [*shares, max(0.0, 1 - sum(shares))]


def pass_correlation(shares: list[float], corr: Tensor) -> Tensor:
    """Returns Σ share_k ρᵏ, of the shape of ρ: the correlations of φ(x)."""
    *known, rest = shares
    return sum(s * corr**k for k, s in enumerate(known, 1)) + rest * corr**_REST


def pass_kappa(shares: list[float], kappa: float) -> float:
    """Returns κ of φ(x), for correlations that are normal around 0."""
    return min(1.0, shares[0] ** 2 * kappa + 3 * shares[1] ** 2 * kappa**2)


def maximum_of(count: int, correlation: float, nodes: int = 24) -> tuple[Tensor, Tensor]:
    """Returns values and weights of the maximum of equally correlated standard normals.

    Each is √ρ·z₀ + √(1−ρ)·zᵢ; the maximum of the independent zᵢ has the distribution Φᶜ.
    Values and weights are (64·nodes,) float64; the weights sum to 1.

    Args:
        count: c of them.
        correlation: ρ, clamped to [0, 1].
        nodes: of the quadrature over z₀.
    """
    ρ = min(max(correlation, 0.0), 1.0)
    common, weight = np.polynomial.hermite_e.hermegauss(nodes)
    quantile = ((np.arange(64) + 0.5) / 64) ** (1 / count)
    own = torch.special.ndtri(torch.tensor(quantile))
    values = math.sqrt(ρ) * torch.tensor(common)[:, None] + math.sqrt(1 - ρ) * own[None, :]
    weights = torch.tensor(weight / weight.sum())[:, None].expand_as(values) / len(own)
    return values.flatten(), weights.flatten()


def maximum_moments(
    function: Function, mean: Tensor, var: Tensor, *, count: int, correlation: float
) -> Moments:
    """Returns the moments (D) of φ(max xᵢ) of `count` equally correlated normals, φ increasing.

    Args:
        function: φ, element by element.
        mean: (D), of each xᵢ.
        var: (D).
        count: of normals in a window.
        correlation: of each pair, clamped to [0, 1].
    """
    values, weights = maximum_of(count, correlation)
    shape = (-1, *(1,) * mean.dim())
    z, weight = values.to(mean).reshape(shape), weights.to(mean).reshape(shape)
    return _weighted_moments(function, mean + var.clamp_min(0.0).sqrt() * z, weight)
