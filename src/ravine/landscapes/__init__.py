"""Loss surfaces of any network, loss and batches: exact, fast, explicit about what they omit."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names

if TYPE_CHECKING:
    from ravine.landscapes.directions import (
        difference,
        filter_ratios,
        moved_parameters,
        random_direction,
    )
    from ravine.landscapes.hessian import (
        Sharpness,
        convexity_map,
        sharpness,
        sharpness_along,
        top_eigenvectors,
    )
    from ravine.landscapes.loss_surface import landscape
    from ravine.landscapes.node import FixedBatches
    from ravine.landscapes.settings import KINDS, POLICIES, SurfaceSettings
    from ravine.landscapes.trajectory import trajectory_plane
    from ravine.runs.surface import Surface
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "KINDS": "ravine.landscapes.settings",
            "POLICIES": "ravine.landscapes.settings",
            "FixedBatches": "ravine.landscapes.node",
            "Sharpness": "ravine.landscapes.hessian",
            "Surface": "ravine.runs.surface",
            "SurfaceSettings": "ravine.landscapes.settings",
            "convexity_map": "ravine.landscapes.hessian",
            "difference": "ravine.landscapes.directions",
            "filter_ratios": "ravine.landscapes.directions",
            "landscape": "ravine.landscapes.loss_surface",
            "moved_parameters": "ravine.landscapes.directions",
            "random_direction": "ravine.landscapes.directions",
            "sharpness": "ravine.landscapes.hessian",
            "sharpness_along": "ravine.landscapes.hessian",
            "top_eigenvectors": "ravine.landscapes.hessian",
            "trajectory_plane": "ravine.landscapes.trajectory",
        },
    )

__all__ = [
    "KINDS",
    "POLICIES",
    "FixedBatches",
    "Sharpness",
    "Surface",
    "SurfaceSettings",
    "convexity_map",
    "difference",
    "filter_ratios",
    "landscape",
    "moved_parameters",
    "random_direction",
    "sharpness",
    "sharpness_along",
    "top_eigenvectors",
    "trajectory_plane",
]
