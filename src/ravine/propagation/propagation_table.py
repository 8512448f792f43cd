"""The table of the theory: how signals and gradients pass each kind of operation."""

from collections.abc import Mapping
from typing import Final

from ravine.propagation.arithmetic import ARITHMETIC
from ravine.propagation.elementwise import ELEMENTWISE
from ravine.propagation.normalisation import NORMALISATIONS
from ravine.propagation.operations import Propagation
from ravine.propagation.poolings import POOLINGS
from ravine.propagation.shapes import SHAPES
from ravine.propagation.weighted import WEIGHTED_LAYERS

# By the name of the torch function, without underscores.
PROPAGATIONS: Final[Mapping[str, Propagation]] = {
    **ELEMENTWISE,
    **WEIGHTED_LAYERS,
    **SHAPES,
    **ARITHMETIC,
    **POOLINGS,
    **NORMALISATIONS,
}
