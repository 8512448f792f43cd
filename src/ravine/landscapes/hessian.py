"""Sharpness: eigenvalues, trace and density of the Hessian, each with its error.

Products with the Hessian are those of curvlinops; the largest eigenvalues are ARPACK's, the ends of
the spectrum those of `lanczos.py`, the trace is Hutchinson's (1990), the density by Lanczos as in
Papyan, "Traces of class/cross-class structure pervade deep learning spectra", 2020. The network is
in evaluation mode, batch norm with running statistics, in float32 (or its own type).
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.lazy import lazy_module
from ravine.core.nested import call_model
from ravine.core.progress import Progress, no_progress
from ravine.landscapes.deadline import Deadline
from ravine.landscapes.directions import Direction, inner, moved_parameters
from ravine.landscapes.evaluator import GridEvaluator
from ravine.landscapes.lanczos import ends_of
from ravine.landscapes.node import FixedBatches, LossFunction, examples_of
from ravine.landscapes.plane import Plane, preserve_all_but_weights, preserve_weights
from ravine.landscapes.second_derivatives import differentiable_twice
from ravine.landscapes.settings import require_curvlinops

if TYPE_CHECKING:
    from scipy.sparse import linalg
else:
    linalg = lazy_module("scipy.sparse.linalg")

_TOLERANCE = 1e-4  # of eigenvalues, relative
_ROUGH = 1e-3  # residuals of the ends whose ratio is drawn
_FEW = 25  # parameters, up to which the Hessian is computed whole: ARPACK needs more
_WHOLE = 512  # parameters, up to which it is computed whole where ARPACK does not converge
_RESTARTS, _MOST_PRODUCTS = 60, 96  # of ARPACK, and for the ends of the spectrum
_DENSITY_RUNS, _DENSITY_STEPS = 4, 64  # Lanczos runs, and products in each


def _curvlinops() -> Any:
    """Returns the library: on first use, since it loads others that a picture does not need."""
    require_curvlinops("the Hessian")
    with warnings.catch_warnings():
        # One of them, and torch's own first jvp, call torch.jit.script, which is deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.zeros(1),))
        return import_module("curvlinops")


class _NetworkOfMapping(nn.Module):
    """The network, its inputs under one key, so that it may have several."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, wrapped: dict[str, Any]) -> Any:
        return call_model(self.network, wrapped["inputs"])


class _MeanLoss(nn.Module):
    """Any loss in the form that curvlinops takes."""

    reduction = "mean"

    def __init__(self, loss: LossFunction) -> None:
        super().__init__()
        self._loss = loss

    def forward(self, outputs: Any, targets: Any) -> Tensor:
        """Returns the mean of the loss, a scalar."""
        return self._loss(outputs, targets).mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpness:
    """The Hessian in a few numbers.

    Attributes:
        eigenvalues: the algebraically largest, largest first.
        residuals: ‖Hv − λv‖ of each: an eigenvalue of H lies within that distance.
        trace: sum of all eigenvalues.
        trace_error: its standard error.
        grid: (G,) eigenvalues at which the density is given; empty without a density.
        density: (G,) share of the eigenvalues per unit.
        density_error: (G,) its standard error.
    """

    eigenvalues: list[float]
    residuals: list[float]
    trace: float
    trace_error: float
    grid: np.ndarray
    density: np.ndarray
    density_error: np.ndarray


def hessian(model: nn.Module, loss: LossFunction, batches: FixedBatches) -> Any:
    """Returns the Hessian of the mean loss at the present weights of the model."""
    model.eval()
    for p in moved_parameters(model).values():
        p.requires_grad_(True)
    pairs = [({"inputs": inputs}, targets) for inputs, targets in batches.pairs]
    sizes = {id(wrapped): examples_of(targets, wrapped["inputs"]) for wrapped, targets in pairs}
    return _curvlinops().HessianLinearOperator(
        _NetworkOfMapping(model),
        _MeanLoss(loss),
        list(moved_parameters(model).values()),
        pairs,
        check_deterministic=False,
        batch_size_fn=lambda wrapped: sizes[id(wrapped)],
    )


def sharpness(
    model: nn.Module,
    loss: LossFunction,
    batches: FixedBatches,
    *,
    top: int = 2,
    samples: int = 16,
    density: bool = False,
    seed: int = 0,
) -> Sharpness:
    """Returns eigenvalues, trace and, on request, density; the model is left unchanged.

    Args:
        model: any network whose loss can be differentiated twice.
        loss: of (outputs, targets).
        batches: what the mean loss is taken over.
        top: number of eigenvalues.
        samples: random vectors for the trace.
        density: also the density, from 4 more Lanczos runs of 64 products each.
        seed: of the random vectors.

    Raises:
        SettingError: fewer than 2 samples, or more eigenvalues than parameters.
    """
    if samples < 2:
        raise SettingError(f"samples must be at least 2 for an error, got {samples}")
    with preserve_all_but_weights(model), differentiable_twice():
        torch.manual_seed(seed)
        operator = hessian(model, loss, batches)
        pairs = _largest(operator, top, seed)
        residuals = [float((operator @ v - value * v).norm() / v.norm()) for value, v in pairs]
        trace, trace_error = _trace(operator, samples)
        empty = np.zeros(0)
        grid, heights, error = _density(operator, seed) if density else (empty, empty, empty)
    return Sharpness(
        eigenvalues=[value for value, _ in pairs],
        residuals=residuals,
        trace=trace,
        trace_error=trace_error,
        grid=grid,
        density=heights,
        density_error=error,
    )


def _trace(operator: Any, samples: int) -> tuple[float, float]:
    """Returns Hutchinson's estimate of the trace and its standard error."""
    quadratic = []
    for _ in range(samples):
        v = torch.randint(0, 2, (operator.shape[1],)).to(operator.device, operator.dtype)
        v = 2 * v - 1
        quadratic.append(float(v.double() @ (operator @ v).double()))
    return float(np.mean(quadratic)), float(np.std(quadratic, ddof=1) / math.sqrt(samples))


def _density(operator: Any, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns grid, density and its standard error, (G,) each."""
    ends = _ends(operator, seed)
    steps = min(_DENSITY_STEPS, operator.shape[1])
    grids, heights = [], []
    for _ in range(_DENSITY_RUNS):
        grid, density = _curvlinops().lanczos_approximate_spectrum(operator, steps, boundaries=ends)
        grids.append(grid.cpu().numpy())
        heights.append(density.cpu().numpy())
    found = np.array(heights)
    return grids[0], found.mean(0), found.std(0, ddof=1) / math.sqrt(_DENSITY_RUNS)


def top_eigenvectors(
    model: nn.Module, loss: LossFunction, batches: FixedBatches, *, count: int, seed: int = 0
) -> list[tuple[float, Direction]]:
    """Returns the largest eigenvalues of the Hessian, each with its eigenvector of length 1."""
    with preserve_all_but_weights(model), differentiable_twice():
        found = _largest(hessian(model, loss, batches), count, seed)
    parameters = list(moved_parameters(model).values())
    return [(value, _as_direction(v, parameters)) for value, v in found]


def _as_direction(vector: Tensor, parameters: Sequence[Tensor]) -> Direction:
    """Returns a flat vector as tensors of the parameters' shapes."""
    parts = vector.split([p.numel() for p in parameters])
    return [part.view(p.shape).clone() for part, p in zip(parts, parameters, strict=True)]


def sharpness_along(
    model: nn.Module, loss: LossFunction, batches: FixedBatches, directions: Sequence[Direction]
) -> list[float]:
    """Returns dᵀHd/dᵀd for each direction d: the curvature that a picture along it shows."""
    with preserve_all_but_weights(model), differentiable_twice():
        operator = hessian(model, loss, batches)
        return [inner(d, operator @ d) / inner(d, d) for d in directions]


def convexity_map(
    model: nn.Module,
    loss: LossFunction,
    batches: FixedBatches,
    directions: Sequence[Direction],
    x: np.ndarray,
    y: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Returns |λ_min/λ_max| of the Hessian at each node, (Y, X); 0 where the loss is convex.

    As in Li et al. 2018, section 6: a small ratio says that a surface that looks convex is not
    the convex slice of something else. NaN where the eigenvalues do not converge.

    Args:
        model: any network whose loss can be differentiated twice; left unchanged.
        loss: of (outputs, targets).
        batches: what the mean loss is taken over.
        directions: one or two.
        x: (X,) coordinates along the first direction.
        y: (Y,) coordinates along the second.
        seed: of the eigenvalue solver.
    """
    with preserve_all_but_weights(model) as buffers, preserve_weights(model) as weights:
        evaluator = GridEvaluator(
            model=model,
            plane=Plane(model, weights, directions),
            loss=loss,
            batches=batches,
            policy="running",
            precision=torch.float32,
            buffers=buffers,
        )
        return convexity_over(evaluator, x, y, lambda a, b: (a, b)[: len(directions)], seed=seed)


def convexity_over(
    evaluator: GridEvaluator,
    x: np.ndarray,
    y: np.ndarray,
    coordinates: Callable[[float, float], tuple[float, ...]],
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    deadline: Deadline | None = None,
) -> np.ndarray:
    """Returns the (Y, X) of `convexity_map` for an evaluator whose model the caller restores.

    NaN where the time is over.

    Args:
        evaluator: of the surface.
        x: (X,) along the first axis.
        y: (Y,) along the second axis.
        coordinates: of a point (x, y) of the axes, along the directions.
        seed: of the eigenvalue solver.
        progress: is called for each node.
        deadline: of the map.
    """
    found, cost, allowed = (
        np.full((len(y), len(x)), np.nan),
        0.0,
        deadline or Deadline(seconds=None),
    )
    for row, b in enumerate(y.tolist()):
        for column, a in enumerate(x.tolist()):
            progress("nodes of the convexity map", row * len(x) + column, found.size)
            if not allowed.allows(cost):
                continue
            before = allowed.used
            evaluator.move_to(*coordinates(a, b))
            with differentiable_twice():
                operator = hessian(evaluator.model, evaluator.loss, evaluator.batches)
                low, high = _ends(operator, seed, tolerance=_ROUGH)
            if math.isfinite(low) and high > 0:
                found[row, column] = abs(min(low, 0.0) / high)
            cost = allowed.used - before
    progress("nodes of the convexity map", found.size, found.size)
    return found


def _largest(operator: Any, count: int, seed: int) -> list[tuple[float, Tensor]]:
    size = operator.shape[1]
    if count > size:
        raise SettingError(f"{count} eigenvalues of a Hessian of {size} rows; ask for fewer")
    values, vectors = _eigen(operator, count, seed)
    order = np.argsort(-values)[:count]
    like = {"device": operator.device, "dtype": operator.dtype}
    return [(float(values[k]), torch.tensor(vectors[:, k], **like)) for k in order]


def _ends(operator: Any, seed: int, *, tolerance: float = _TOLERANCE) -> tuple[float, float]:
    """Returns lowest and highest eigenvalue; NaN where a product is not finite."""
    if operator.shape[1] <= _FEW:
        values, _ = _whole(operator)
        return float(values[0]), float(values[-1])
    found = ends_of(operator, most=_MOST_PRODUCTS, tolerance=tolerance, seed=seed)
    return found.low, found.high


def _whole(operator: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns all eigenvalues (D,), lowest first, and eigenvectors (D, D); NaN for a NaN."""
    size = operator.shape[1]
    unit = torch.eye(size, device=operator.device, dtype=operator.dtype)
    whole = (operator @ unit).double().cpu().numpy()
    if not np.isfinite(whole).all():
        return np.full(size, np.nan), np.full((size, size), np.nan)
    values, vectors = np.linalg.eigh((whole + whole.T) / 2)
    return values, vectors


def _eigen(operator: Any, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns at least the largest eigenvalues, and their vectors."""
    size = operator.shape[1]
    if size <= max(_FEW, count + 1):
        return _whole(operator)
    start = np.random.default_rng(seed).normal(size=size)
    try:
        values, vectors = linalg.eigsh(
            operator.to_scipy(np.float64),
            k=count,
            which="LA",
            v0=start,
            tol=_TOLERANCE,
            maxiter=_RESTARTS,
        )
    except linalg.ArpackNoConvergence as stopped:
        if len(stopped.eigenvalues) < count:
            return _not_converged(operator)
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    return values, vectors


def _not_converged(operator: Any) -> tuple[np.ndarray, np.ndarray]:
    if operator.shape[1] <= _WHOLE:
        return _whole(operator)
    raise SettingError(
        "the eigenvalues of the Hessian did not converge; use more examples, or fewer eigenvalues"
    ) from None
