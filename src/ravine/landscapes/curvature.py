"""The Hessian of a surface on request: sharpness at its centre, convexity over its axes."""

from collections.abc import Callable, Mapping

import numpy as np

from ravine.core.progress import Progress
from ravine.landscapes.deadline import Deadline
from ravine.landscapes.directions import inner, moved_parameters
from ravine.landscapes.evaluator import GridEvaluator
from ravine.landscapes.hessian import convexity_over, sharpness, sharpness_along
from ravine.landscapes.settings import SurfaceSettings
from ravine.runs.surface import Surface

_TOP = 5
_SAMPLES = 16


def curvature(
    evaluator: GridEvaluator,
    surface: Surface,
    coordinates: Callable[[float, float], tuple[float, ...]],
    known: Mapping[str, np.ndarray],
    settings: SurfaceSettings,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Returns the arrays of `Surface.sharpness`, of the shapes named there.

    Args:
        evaluator: of the surface; its model is left at the centre.
        surface: whose axes the convexity map spans.
        coordinates: of a point (x, y) of the axes, along the directions.
        known: what an earlier call computed; it is taken over.
        settings: `sharpness` asks for eigenvalues, trace, density and the curvature along the
            directions, `convexity` for a map of so many nodes a side.
        progress: is called after each part.
    """
    found, deadline = dict(known), Deadline(seconds=settings.budget)  # as long again as the surface
    evaluator.move_to(*evaluator.centre)
    if settings.sharpness and "eigenvalues" not in found:
        progress("parts of the sharpness", 0, 2)
        found |= _at_the_centre(evaluator)
        progress("parts of the sharpness", 2, 2)
    side = settings.convexity
    x, y = surface.x, surface.y
    wide, high = np.linspace(x[0], x[-1], side), np.linspace(y[0], y[-1], side if len(y) > 1 else 1)
    if side and len(found.get("convexity_x", ())) != side:
        found |= {
            "convexity": convexity_over(
                evaluator, wide, high, coordinates, progress=progress, deadline=deadline
            ),
            "convexity_x": wide,
            "convexity_y": high,
        }
        evaluator.move_to(*evaluator.centre)
    return found


def _at_the_centre(evaluator: GridEvaluator) -> dict[str, np.ndarray]:
    model, loss, batches = evaluator.model, evaluator.loss, evaluator.batches
    size = sum(p.numel() for p in moved_parameters(model).values())
    found = sharpness(model, loss, batches, top=min(_TOP, size), samples=_SAMPLES, density=True)
    nonzero = [d for d in evaluator.plane.directions if inner(d, d) > 0]
    return {
        "eigenvalues": np.array(found.eigenvalues),
        "residuals": np.array(found.residuals),
        "trace": np.array([found.trace, found.trace_error]),
        "grid": found.grid,
        "density": found.density,
        "density_error": found.density_error,
        "along": np.array(sharpness_along(model, loss, batches, nonzero)),
    }
