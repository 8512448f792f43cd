"""What a surface tells of the Hessian on request: sharpness at its centre, convexity over it."""

from collections.abc import Callable, Mapping

import numpy as np

from ravine.core.progress import Progress
from ravine.landscapes.directions import inner, moved_parameters
from ravine.landscapes.evaluator import Ground
from ravine.landscapes.sharpness import convexity_over, sharpness, sharpness_along
from ravine.runs.surface import Surface

_TOP = 5
_SAMPLES = 16


def curvature(
    ground: Ground,
    surface: Surface,
    spot: Callable[[float, float], tuple[float, ...]],
    known: Mapping[str, np.ndarray],
    whole: bool,
    side: int,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Returns the arrays of `Surface.sharpness`; those in `known` are taken over.

    Args:
        ground: of the surface; its model is left at the centre.
        surface: whose axes the convexity map spans.
        spot: coordinates in the directions of a place on the axes.
        known: what an earlier call found.
        whole: eigenvalues, trace, density and the curvature along the directions.
        side: nodes a side of the convexity map, 0 for none.
        progress: told of each part.
    """
    found = dict(known)
    here = [0.0] * len(ground.plane.directions)
    ground.go(*here)
    if whole and "eigenvalues" not in found:
        progress("parts of the sharpness", 0, 2)
        found |= _at_the_centre(ground)
        progress("parts of the sharpness", 2, 2)
    x, y = surface.x, surface.y
    wide, high = np.linspace(x[0], x[-1], side), np.linspace(y[0], y[-1], side if len(y) > 1 else 1)
    if side and len(found.get("convexity_x", ())) != side:
        found |= {
            "convexity": convexity_over(ground, wide, high, spot, progress=progress),
            "convexity_x": wide,
            "convexity_y": high,
        }
        ground.go(*here)
    return found


def _at_the_centre(ground: Ground) -> dict[str, np.ndarray]:
    model, loss, batches = ground.model, ground.loss, ground.batches
    size = sum(p.numel() for p in moved_parameters(model).values())
    top = min(_TOP, size)
    seen = sharpness(model, loss, batches, top=top, samples=_SAMPLES, density=True)
    drawn = [d for d in ground.plane.directions if inner(d, d) > 0]
    return {
        "eigenvalues": np.array(seen.eigenvalues),
        "residuals": np.array(seen.residuals),
        "trace": np.array([seen.trace, seen.trace_error]),
        "grid": seen.grid,
        "density": seen.density,
        "density_error": seen.density_error,
        "along": np.array(sharpness_along(model, loss, batches, drawn)),
    }
