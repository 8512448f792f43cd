"""Sharpness: eigenvalues, trace and density of the Hessian, each with its error.

Products with the Hessian are those of curvlinops; eigenvalues are ARPACK's, the trace is
Hutchinson's (1990), the density by Lanczos as in Papyan, "Traces of class/cross-class structure
pervade deep learning spectra", 2020. The network is in evaluation mode, batch norm with running
statistics, in float32 (or its own type).
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, eigsh
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.progress import Progress, no_progress
from ravine.landscapes.directions import Direction, inner, moved_parameters
from ravine.landscapes.evaluator import Ground
from ravine.landscapes.node import FixedBatches, LossFunction, answer, examples_of
from ravine.landscapes.plane import Plane, guarded, held

_TOLERANCE = 1e-4  # of eigenvalues, relative
_ROUGH = 1e-2  # of those whose ratio is drawn
_FEW = 25  # parameters, below which the Hessian is made whole: ARPACK needs room


def _curvlinops() -> Any:
    """Returns the library: on first use, since it loads others that a picture does not need."""
    with warnings.catch_warnings():
        # One of them, and torch's own first jvp, call torch.jit.script, which is deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.zeros(1),))
        return import_module("curvlinops")


class _Answer(nn.Module):
    """The network, its inputs under one key, so that it may have several."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, wrapped: dict[str, Any]) -> Any:
        return answer(self.network, wrapped["inputs"])


class _MeanLoss(nn.Module):
    """Any loss as curvlinops wants it."""

    reduction = "mean"

    def __init__(self, loss: LossFunction) -> None:
        super().__init__()
        self._loss = loss

    def forward(self, said: Any, targets: Any) -> Tensor:
        return self._loss(said, targets).mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpness:
    """The Hessian in a few numbers.

    Attributes:
        eigenvalues: the algebraically largest, largest first.
        residuals: ‖Hv − λv‖ of each: an eigenvalue lies within that of it.
        trace: sum of all eigenvalues.
        trace_error: its standard error.
        grid: places of the density, empty if it was not asked for.
        density: share of the eigenvalues per unit, on the grid.
        density_error: its standard error.
    """

    eigenvalues: list[float]
    residuals: list[float]
    trace: float
    trace_error: float
    grid: np.ndarray
    density: np.ndarray
    density_error: np.ndarray


def hessian(model: nn.Module, loss: LossFunction, batches: FixedBatches) -> Any:
    """Returns the Hessian of the mean loss at the weights that the model has now."""
    model.eval()
    for p in moved_parameters(model).values():
        p.requires_grad_(True)
    pairs = [({"inputs": inputs}, targets) for inputs, targets in batches.pairs]
    sizes = {id(wrapped): examples_of(targets, wrapped["inputs"]) for wrapped, targets in pairs}
    return _curvlinops().HessianLinearOperator(
        _Answer(model),
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
    """Returns eigenvalues, trace and, if asked, density; the model is left as it was.

    Args:
        model: any network whose loss can be differentiated twice.
        loss: of (outputs, targets).
        batches: what the mean loss is taken over.
        top: eigenvalues.
        samples: random vectors for the trace.
        density: also the density, from 4 more Lanczos runs of 64 products each.
        seed: of the random vectors.
    """
    if samples < 2:
        raise SettingError(f"samples must be at least 2 for an error, got {samples}")
    with guarded(model):
        torch.manual_seed(seed)
        operator = hessian(model, loss, batches)
        pairs = _largest(operator, top, seed)
        residuals = [float((operator @ v - value * v).norm() / v.norm()) for value, v in pairs]
        quadratic = []
        for _ in range(samples):
            v = torch.randint(0, 2, (operator.shape[1],)).to(operator.device, operator.dtype)
            v = 2 * v - 1
            quadratic.append(float(v.double() @ (operator @ v).double()))
        runs = []
        if density:
            reach = _ends(operator, seed)
            steps = min(64, operator.shape[1])
            for _ in range(4):
                runs.append(
                    [
                        t.cpu().numpy()
                        for t in _curvlinops().lanczos_approximate_spectrum(
                            operator, steps, boundaries=reach
                        )
                    ]
                )
    heights = np.array([run[1] for run in runs])
    empty = np.zeros(0)
    return Sharpness(
        eigenvalues=[value for value, _ in pairs],
        residuals=residuals,
        trace=float(np.mean(quadratic)),
        trace_error=float(np.std(quadratic, ddof=1) / math.sqrt(samples)),
        grid=runs[0][0] if runs else empty,
        density=heights.mean(0) if runs else empty,
        density_error=heights.std(0, ddof=1) / 2 if runs else empty,
    )


def top_eigenvectors(
    model: nn.Module, loss: LossFunction, batches: FixedBatches, *, count: int, seed: int = 0
) -> list[tuple[float, Direction]]:
    """Returns the largest eigenvalues of the Hessian, each with its eigenvector of length 1."""
    with guarded(model):
        found = _largest(hessian(model, loss, batches), count, seed)
    parameters = list(moved_parameters(model).values())
    sizes = [p.numel() for p in parameters]
    return [
        (
            value,
            [
                part.view(p.shape).clone()
                for part, p in zip(v.split(sizes), parameters, strict=True)
            ],
        )
        for value, v in found
    ]


def sharpness_along(
    model: nn.Module, loss: LossFunction, batches: FixedBatches, directions: Sequence[Direction]
) -> list[float]:
    """Returns dᵀHd/dᵀd for each direction d: the curvature that a picture along it shows."""
    with guarded(model):
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
    """Returns |λ_min/λ_max| of the Hessian at each node, (Y, X); 0 is convex there.

    As in Li et al. 2018, section 6: a small ratio says that a convex-looking picture is not a
    convex-looking slice of something else. A node where no eigenvalue can be had is NaN.
    """
    with guarded(model) as buffers, held(model) as weights:
        ground = Ground(
            model=model,
            plane=Plane(model, weights, directions),
            loss=loss,
            batches=batches,
            policy="running",
            precision=torch.float32,
            buffers=buffers,
        )
        return convexity_over(ground, x, y, lambda a, b: (a, b)[: len(directions)], seed=seed)


def convexity_over(
    ground: Ground,
    x: np.ndarray,
    y: np.ndarray,
    spot: Callable[[float, float], tuple[float, ...]],
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Returns what `convexity_map` does, for a ground that the caller puts back."""
    found = np.full((len(y), len(x)), np.nan)
    for row, b in enumerate(y.tolist()):
        for column, a in enumerate(x.tolist()):
            progress("nodes of the convexity map", row * len(x) + column, found.size)
            ground.go(*spot(a, b))
            operator = hessian(ground.model, ground.loss, ground.batches)
            try:
                low, high = _ends(operator, seed, tolerance=_ROUGH)
            except (ArpackError, SettingError):
                continue
            if math.isfinite(low) and high > 0:
                found[row, column] = abs(min(low, 0.0) / high)
    progress("nodes of the convexity map", found.size, found.size)
    return found


def _largest(operator: Any, count: int, seed: int) -> list[tuple[float, Tensor]]:
    size = operator.shape[1]
    if count > size:
        raise SettingError(f"{count} eigenvalues of a Hessian of {size} rows; ask for fewer")
    values, vectors = _eigen(operator, count, "LA", seed)
    order = np.argsort(-values)[:count]
    like = {"device": operator.device, "dtype": operator.dtype}
    return [(float(values[k]), torch.tensor(vectors[:, k], **like)) for k in order]


def _ends(operator: Any, seed: int, *, tolerance: float = _TOLERANCE) -> tuple[float, float]:
    values, _ = _eigen(operator, 2, "BE", seed, tolerance)
    return float(values.min()), float(values.max())


def _eigen(
    operator: Any, count: int, which: str, seed: int, tolerance: float = _TOLERANCE
) -> tuple[np.ndarray, np.ndarray]:
    size = operator.shape[1]
    if size <= max(_FEW, count + 1):
        unit = torch.eye(size, device=operator.device, dtype=operator.dtype)
        whole = (operator @ unit).double().cpu().numpy()
        if not np.isfinite(whole).all():
            return np.full(size, np.nan), np.full((size, size), np.nan)
        values, vectors = np.linalg.eigh((whole + whole.T) / 2)
        return values, vectors
    start = np.random.default_rng(seed).normal(size=size)
    try:
        values, vectors = eigsh(
            operator.to_scipy(np.float64), k=count, which=which, v0=start, tol=tolerance
        )
    except ArpackNoConvergence as stopped:
        if len(stopped.eigenvalues) < count:
            raise SettingError(
                "the eigenvalues of the Hessian did not settle; use more examples, or fewer "
                "eigenvalues"
            ) from None
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    return values, vectors
