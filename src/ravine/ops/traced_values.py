"""What the tensors of a traced forward pass hold: a value of the graph, or a constant.

A tensor is known by its memory, which is kept alive: what an operation changes in place is a new
value in the same memory, and a view is the same value.
"""

from typing import Any, final

import torch
from torch import Tensor, nn

from ravine.ops.traced_graph import UntraceableError, Value


@final
class TracedValues:
    """The values of one forward pass, for one image.

    Args:
        image: (1, C, H, W), value 0.
        network: whose parameters and buffers are the constants.
    """

    def __init__(self, image: Tensor, network: nn.Module) -> None:
        self.shapes: dict[Value, tuple[int, int, int]] = {0: _shape(image)}
        self._values: dict[int, Value] = {_storage(image): 0}
        constants = [*network.parameters(), *network.buffers()]
        self._constants = {_storage(tensor) for tensor in constants}
        self._steps: dict[int, tuple[int, int]] = {}  # down and across, of subsampled images by id
        self._alive: list[Any] = [image]  # so that no address and no id is another's

    def keep(self, held: Any) -> None:
        """Keeps what holds tensors alive as long as the trace."""
        self._alive.append(held)

    def is_constant(self, tensor: Any) -> bool:
        """Returns whether a tensor of any shape is a parameter or buffer, or a view of one."""
        return isinstance(tensor, Tensor) and _storage(tensor) in self._constants

    def alias(self, x: Tensor, result: Tensor) -> None:
        """Notes that `result`, of any shape, has the elements of x in their order."""
        value = self.vector(x)
        channels, height, width = self.shapes[value]
        if tuple(result.shape) == (1, channels * height * width) and x.is_contiguous():
            self._values[_storage(result)] = value
            return
        if result.shape != x.shape and tuple(result.shape) not in (
            (1, channels),
            (1, channels, 1, 1),
        ):
            raise UntraceableError("another shape")
        if result.shape != x.shape and (height, width) != (1, 1):
            raise UntraceableError("pixels become channels")
        if not (result.is_contiguous() or result.is_contiguous(memory_format=torch.channels_last)):
            raise UntraceableError("another order of elements")
        self._values[_storage(result)] = value

    def subsample(
        self, result: Tensor, x: Tensor, axis: int = 0, start: int = 0, end: int = 0, step: int = 1
    ) -> None:
        """Notes that `result` is every so many-th row, or column, of x (B, C, H, W)."""
        before = self._steps.get(id(x), (1, 1))
        if x.dim() != 4 or axis not in (2, 3) or start != 0 or end < x.shape[axis]:
            raise UntraceableError("a part of the images")
        down, across = before
        self._steps[id(result)] = (down * step, across) if axis == 2 else (down, across * step)

    def subsampled(self, tensor: Tensor) -> tuple[Value, int]:
        """Returns of which value a tensor (1, C, H, W) is every nth row and column, and n."""
        down, across = self._steps.get(id(tensor), (1, 1))
        found = self._values.get(_storage(tensor))
        if found is None or down != across:
            raise UntraceableError("an operand does not come from the images alone")
        channels, height, width = self.shapes[found]
        if tuple(tensor.shape[1:]) != (channels, -(-height // down), -(-width // down)):
            raise UntraceableError("a part of the images")
        return found, down

    def value(self, tensor: Tensor) -> Value:
        """Returns the value of a tensor (1, C, H, W) or (1, C) with all elements of its memory."""
        found = self.vector(tensor)
        if tensor.dim() == 2 and tensor.shape[1] != self.shapes[found][0]:
            raise UntraceableError("pixels become channels")
        return found

    def vector(self, tensor: Tensor) -> Value:
        """The same, also of a vector (1, C·H·W): channel after channel, the pixels of each."""
        found = self._values.get(_storage(tensor))
        if found is None or tensor.numel() != _numel(self.shapes[found]):
            raise UntraceableError("an operand does not come from the images alone")
        return found

    def constant(self, tensor: Tensor) -> Tensor:
        """Returns a parameter or buffer of any shape, or a view of one, in float32."""
        if not self.is_constant(tensor) or tensor.dtype is not torch.float32:
            raise UntraceableError("an operand is no parameter or buffer in float32")
        return tensor.detach()

    def new_value(self, result: Tensor) -> Value:
        """Returns the number of a new value, which `result`, (1, C, H, W) or (1, C), holds."""
        if result.dtype is not torch.float32 or len(result) != 1:
            raise UntraceableError("the result is not in float32, or of several images")
        value = len(self.shapes)
        self.shapes[value] = _shape(result)
        self._values[_storage(result)] = value
        return value


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _numel(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]


def _shape(tensor: Tensor) -> tuple[int, int, int]:
    if tensor.dim() not in (2, 4):
        raise UntraceableError("neither (B, C, H, W) nor (B, C)")
    _, channels, *sides = tensor.shape
    height, width = sides or (1, 1)
    return channels, height, width
