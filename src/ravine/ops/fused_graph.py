"""A traced graph with its norms, activations and sums fused into the layers that they follow.

A layer writes y = act(layer(x)·scale + shift + residual), and beside it, where another norm follows
that is not alone in reading y, second = act'(y·scale' + shift'). Scales of convolutions are folded
into their weights.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from ravine.ops.traced_graph import (
    Activation,
    Affine,
    Convolution,
    Node,
    Response,
    Sum,
    TracedGraph,
    Value,
    Window,
)


@final
@dataclass(slots=True, kw_only=True, eq=False)
class Second:
    """A second result, act(y·scale + shift); scale and shift (C,) float64."""

    value: Value
    scale: Tensor
    shift: Tensor
    activation: str = "identity"


@final
@dataclass(slots=True, kw_only=True, eq=False)
class Layer:
    """A convolution or a window and what is fused into it, or a response norm alone.

    Attributes:
        node: the operation; what stands alone is a window of one pixel.
        y: value that is written.
        y_is_read: whether a later layer reads y, or it is the result; else it is not written.
        scale: (C,) float64, or None; for a convolution already in its weights.
        shift: (C,) float64, or None.
        residual: value that is added before the activation.
        activation: a key of `kernels.batch_norm.ACTIVATIONS`.
        second: of a convolution alone.
    """

    node: Convolution | Window | Response
    y: Value
    y_is_read: bool = True
    scale: Tensor | None = None
    shift: Tensor | None = None
    residual: Value | None = None
    activation: str | None = None
    second: Second | None = None

    @property
    def reads(self) -> list[Value]:
        """The values that it reads."""
        return [self.node.x, *([] if self.residual is None else [self.residual])]

    @property
    def writes(self) -> list[Value]:
        """The values that it writes."""
        found = [self.y] if self.y_is_read else []
        return found if self.second is None else [*found, self.second.value]


def fuse(graph: TracedGraph) -> list[Layer]:
    """Returns the layers of a graph, in an order in which all that one reads was written before."""
    return list(_Fusion(graph).layers())


@dataclass(slots=True)
class _Fusion:
    graph: TracedGraph
    readers: dict[Value, list[Node]] = field(default_factory=lambda: defaultdict(list))
    written: set[Value] = field(default_factory=lambda: {0})
    done: set[Node] = field(default_factory=set)

    def layers(self) -> Iterator[Layer]:
        """Yields the layers."""
        for node in self.graph.nodes:
            for value in _read_by(node):
                self.readers[value].append(node)
        for node in self.graph.nodes:
            if node not in self.done:
                yield self._layer(node)

    def _layer(self, node: Node) -> Layer:
        layer = self._begin(node)
        while self._absorb(layer):
            pass
        if isinstance(layer.node, Convolution):
            self._add_second(layer)
        self.written.update(layer.writes)
        return layer

    def _begin(self, node: Node) -> Layer:
        """Returns a layer with nothing fused into it but `node`."""
        if isinstance(node, Convolution | Window | Response):
            bias = (
                node.bias.double()
                if isinstance(node, Convolution) and node.bias is not None
                else None
            )
            return Layer(node=node, y=node.y, shift=bias)
        layer = Layer(node=Window(node.x, node.x, (1, 1), 1, 0, is_mean=False), y=node.x)
        assert self._fuse(layer, node)
        return layer

    def _absorb(self, layer: Layer) -> bool:
        """Fuses the only reader of a layer's result into it, where that can be."""
        if layer.y == self.graph.output or len(self.readers[layer.y]) != 1:
            return False
        return self._fuse(layer, self.readers[layer.y][0])

    def _fuse(self, layer: Layer, node: Node) -> bool:
        if layer.activation is not None or isinstance(layer.node, Response):
            return False
        match node:
            case Affine() if layer.residual is None:
                old = layer.scale
                layer.scale = node.scale if old is None else old * node.scale
                moved = None if layer.shift is None else layer.shift * node.scale
                layer.shift = node.shift if moved is None else moved + node.shift
            case Activation():
                layer.activation = node.name
            case Sum() if layer.residual is None:
                other = node.other if node.x == layer.y else node.x
                if other not in self.written:
                    return False
                layer.residual = other
            case _:
                return False
        layer.y = node.y
        self.done.add(node)
        return True

    def _add_second(self, layer: Layer) -> None:
        """Fuses the norm and activation of one of several readers, as the second result."""
        readers = self.readers[layer.y]
        found = next((n for n in readers if isinstance(n, Affine) and n not in self.done), None)
        if found is None:
            return
        second = Second(value=found.y, scale=found.scale, shift=found.shift)
        self.done.add(found)
        after = self.readers[found.y]
        if found.y != self.graph.output and len(after) == 1 and isinstance(after[0], Activation):
            second.activation, second.value = after[0].name, after[0].y
            self.done.add(after[0])
        layer.second = second
        layer.y_is_read = len(readers) > 1 or layer.y == self.graph.output


def _read_by(node: Node) -> list[Value]:
    return [node.x, node.other] if isinstance(node, Sum) else [node.x]


def folded_weight(layer: Layer) -> Tensor:
    """Returns a convolution's weight times the scale of its results, (D, C/G, k, k) float32."""
    assert isinstance(layer.node, Convolution)
    weight = layer.node.weight
    if layer.scale is not None:
        weight = (weight.double() * layer.scale[:, None, None, None]).float()
    return weight.contiguous(memory_format=torch.channels_last)
