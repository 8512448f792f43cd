"""The convergence rate of gradient descent and momentum on a quadratic, predicted and measured.

In the direction of curvature λ a step of either is a linear map of (w, v); the convergence rate is
the largest magnitude ρ of its eigenvalues, and the distance shrinks as ρᵏ. Where the two
eigenvalues meet, which is critical damping, it shrinks as k·ρᵏ.

    gradient descent   η* = 2/(λ₁+λₙ)                    ρ = (κ−1)/(κ+1)
    momentum           η*(1−γ*) = (2/(√λ₁+√λₙ))²         ρ = √γ* = (√κ−1)/(√κ+1)
    critical damping   η(1−γ)λ = (1−√γ)²                 k·ρᵏ, ρ = √γ

Polyak 1964; Goh, "Why momentum really works", Distill 2017. η is that of the moving mean,
v ← γv + (1−γ)g, 1/(1−γ) times the learning rate of the heavy ball.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def step_matrix(λ: float, *, η: float, γ: float, nesterov: bool = False) -> Array:
    """Returns the linear map (2, 2) of (w, v) of a step of momentum at curvature λ."""
    if nesterov:
        return np.array([[1 - η * (1 + γ) * (1 - γ) * λ, -η * γ**2], [(1 - γ) * λ, γ]])
    return np.array([[1 - η * (1 - γ) * λ, -η * γ], [(1 - γ) * λ, γ]])


def predicted_rate(
    curvatures: tuple[float, ...], *, η: float, γ: float = 0.0, nesterov: bool = False
) -> float:
    """Returns ρ, the factor by which the distance shrinks in a step, in the slowest direction.

    >>> round(predicted_rate((1.0, 9.0), η=0.2), 12)  # (κ−1)/(κ+1)
    0.8
    """
    return max(
        float(np.abs(np.linalg.eigvals(step_matrix(λ, η=η, γ=γ, nesterov=nesterov))).max())
        for λ in curvatures
    )


def best_descent(low: float, high: float) -> float:
    """Returns the best learning rate η of gradient descent for curvatures from low to high."""
    return 2 / (low + high)


def best_momentum(low: float, high: float) -> tuple[float, float]:
    """Returns the η and γ of momentum that are best for curvatures from low to high.

    >>> η, γ = best_momentum(1.0, 9.0)
    >>> round(γ, 12), round(predicted_rate((1.0, 9.0), η=η, γ=γ), 6)  # ρ = (√κ−1)/(√κ+1)
    (0.25, 0.5)
    """
    root_low, root_high = math.sqrt(low), math.sqrt(high)
    γ = ((root_high - root_low) / (root_high + root_low)) ** 2
    return (2 / (root_low + root_high)) ** 2 / (1 - γ), γ


def critical_momentum(λ: float, *, η: float) -> float:
    """Returns the γ at which momentum with learning rate η is critically damped at curvature λ.

    From η(1−γ)λ = (1−√γ)²: √γ = (1−ηλ)/(1+ηλ), for ηλ < 1.
    """
    return ((1 - η * λ) / (1 + η * λ)) ** 2


@final
@dataclass(frozen=True, slots=True)
class MeasuredRate:
    """The convergence rate ρ of a path: it shrinks as ρᵏ, or as (a + bk)·ρᵏ if `critical`."""

    rate: float
    critical: bool


def measured_rate(path: Array) -> MeasuredRate:
    """Returns the rate at which a path shrinks to 0, from its points alone.

    A linear map of (w, v) means wₖ₊₂ = t·wₖ₊₁ − d·wₖ in each direction. t and d are fitted by
    least squares, each row relative to its size; ρ is the larger magnitude of the roots of
    z² − tz + d. Where both roots are too close for the fit to separate, |a + bk|·ρᵏ is
    fitted instead.

    Args:
        path: (K, D) float64, one column for each direction of curvature.
    """
    found = [_measured(column) for column in path.T if np.abs(column[0]) > 0]
    return max(found, key=lambda one: one.rate)


def _measured(w: Array) -> MeasuredRate:
    w = w[: _end_of_numbers(w)]
    size = np.abs(w[:-2]) + np.abs(w[1:-1])
    rows = np.stack([w[1:-1], w[:-2]], axis=1) / size[:, None]
    (t, minus_d), _, rank, _ = np.linalg.lstsq(rows, w[2:] / size, rcond=1e-9)
    if rank < 2:  # one root alone: wₖ₊₁ = z·wₖ
        return MeasuredRate(float(np.median(np.abs(w[1:] / w[:-1]))), critical=False)
    roots = np.roots([1.0, -t, -minus_d])
    rate = float(np.abs(roots).max())
    if np.abs(roots[0] - roots[1]) > 0.02 * rate:
        return MeasuredRate(rate, critical=False)
    return MeasuredRate(_critical_rate(w, rate), critical=True)


def _critical_rate(w: Array, near: float) -> float:
    """Returns the ρ of w ≈ (a + bk)·ρᵏ, fitted relative to the size of each value.

    By damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963) in a, b and ln ρ.
    """
    unknown = np.array([w[0], w[1] / near - w[0], math.log(near)])
    misfit, slopes = _critical_misfit(w, unknown)
    damping = 1e-3
    while damping < 1e12:
        normal = slopes.T @ slopes
        step = np.linalg.solve(normal + damping * np.diag(normal.diagonal()), -(slopes.T @ misfit))
        tried, tried_slopes = _critical_misfit(w, unknown + step)
        if not tried @ tried < misfit @ misfit:
            damping *= 10
            continue
        has_ended = misfit @ misfit - tried @ tried < 1e-14 * (misfit @ misfit)
        unknown, misfit, slopes, damping = unknown + step, tried, tried_slopes, damping / 10
        if has_ended:
            break
    return math.exp(unknown[2])


def _critical_misfit(w: Array, unknown: Array) -> tuple[Array, Array]:
    """Returns (K,) what (a + bk)·ρᵏ/w lacks to 1, and its derivatives (K, 3) by a, b and ln ρ."""
    a, b, log_rate = unknown
    k = np.arange(len(w))
    with np.errstate(over="ignore", invalid="ignore"):  # such a step is not taken
        powers = np.exp(log_rate * k) / w
        line = (a + b * k) * powers
        return line - 1, np.stack([powers, k * powers, k * line], axis=1)


def _end_of_numbers(w: Array) -> int:
    """Returns the number of values before rounding or overflow."""
    size = np.abs(w)
    bad = ~np.isfinite(w) | (size < 1e-250) | (size > 1e250)
    return int(np.argmax(bad)) if bad.any() else len(w)
