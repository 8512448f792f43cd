"""A network's forward pass as a graph of the few operations of convolutional networks.

`trace.py` makes one; `fused_graph.py` fuses norms, activations and sums into layers.

Shape letters: C channels, H height, W width, D channels of a result, k side of a kernel, G groups.
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
    """y = x ∗ weight + bias, float32: weight (D, C/G, k, k), bias (D,) or None; or linear."""

    x: Value
    y: Value
    weight: Tensor
    bias: Tensor | None
    stride: int
    padding: int
    groups: int = 1


@final
@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """y_c = x_c / (k + alpha/size · Σ x_j²)^beta over the `size` channels around c."""

    x: Value
    y: Value
    size: int
    alpha: float
    beta: float
    k: float


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


Node = Convolution | Response | Affine | Activation | Sum | Window


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


def is_narrow_under_autocast(graph: TracedGraph) -> bool:
    """Returns whether only convolutions read the images, and the logits are narrow under autocast.

    Convolutions make their results narrow, torch's response norm makes them wide; other operations
    keep the type of what they read, so that what follows the images may be wide.
    """
    wide = {0}
    for node in graph.nodes:
        reads = {node.x, node.other} if isinstance(node, Sum) else {node.x}
        if not isinstance(node, Convolution) and 0 in reads:
            return False
        keeps = isinstance(node, Sum | Affine | Activation | Window)
        if isinstance(node, Response) or (keeps and wide & reads):
            wide.add(node.y)
    return graph.output not in wide


def linear_weights(graph: TracedGraph) -> int:
    """Returns the weights of layers with a result of one position, which an image reads once."""
    layers = (node for node in graph.nodes if isinstance(node, Convolution))
    return sum(node.weight.numel() for node in layers if graph.shapes[node.y][1:] == (1, 1))
