"""Loss surfaces of any network, loss and batches: right, quick, and plain about what they omit."""

from ravine.landscapes.axes import KINDS
from ravine.landscapes.directions import (
    difference,
    filter_ratios,
    moved_parameters,
    random_direction,
)
from ravine.landscapes.loss_surface import landscape
from ravine.landscapes.node import POLICIES, FixedBatches
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
