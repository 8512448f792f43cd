"""The names of the algorithms that can run a convolution on the CPU; loads no torch."""

from typing import Literal

Algorithm = Literal["tiles", "tiles-weights", "winograd-2", "winograd-4", "direct", "torch"]
