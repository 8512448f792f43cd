"""A network's forward pass as a graph of the few operations of convolutional networks.

`trace.py` makes one; `fused_graph.py` fuses norms, activations and sums into layers.

Shape letters: C channels, H height, W width, D channels of a result, k side of a kernel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

Value = int
"""The number of a value: 0 for the images, then in the order in which they are computed."""


class UntraceableError(Exception):
    """The network has an operation that is not known here; its text says which."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """y = x ∗ weight + bias, float32: weight (D, C, k, k), bias (D,) or None; or a linear layer."""

    x: Value
    y: Value
    weight: Tensor
    bias: Tensor | None
    stride: int
    padding: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y = x · scale + shift, both (C,) float64."""

    x: Value
    y: Value
    scale: Tensor
    shift: Tensor


@final
@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """y = act(x); a key of `kernels.batch_norm.ACTIVATIONS`."""

    x: Value
    y: Value
    name: str


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """y = x + other, of the same shape."""

    x: Value
    other: Value
    y: Value


@final
@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """y: the largest, or the mean, of each window of x; kernel (height, width)."""

    x: Value
    y: Value
    kernel: tuple[int, int]
    stride: int
    padding: int
    is_mean: bool


Node = Convolution | Affine | Activation | Sum | Window


@final
@dataclass(frozen=True, slots=True)
class TracedGraph:
    """Nodes in the order in which they ran.

    Attributes:
        nodes: the operations.
        shapes: (C, H, W) of each value; of a vector (C, 1, 1).
        output: the logits' value.
    """

    nodes: tuple[Node, ...]
    shapes: Mapping[Value, tuple[int, int, int]]
    output: Value


def begins_with_convolutions(graph: TracedGraph) -> bool:
    """Returns whether only convolutions read the images: under autocast all values are narrow then.

    Other operations keep the images' type, so that what follows them may be wide.
    """
    readers = [
        node for node in graph.nodes if node.x == 0 or (isinstance(node, Sum) and node.other == 0)
    ]
    return graph.output != 0 and all(isinstance(node, Convolution) for node in readers)
