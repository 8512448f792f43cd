"""Loss surfaces of any network, loss and batches: exact, fast, explicit about what they omit."""

from ravine.landscapes.directions import (
    difference,
    filter_ratios,
    moved_parameters,
    random_direction,
)
from ravine.landscapes.loss_surface import landscape
from ravine.landscapes.node import POLICIES, FixedBatches
from ravine.landscapes.settings import KINDS, SurfaceSettings
from ravine.landscapes.sharpness import (
    Sharpness,
    convexity_map,
    sharpness,
    sharpness_along,
    top_eigenvectors,
)
from ravine.landscapes.trajectory import trajectory_plane
from ravine.runs.surface import Surface

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
