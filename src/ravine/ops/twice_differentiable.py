"""Gradients that can be differentiated again: those of torch's own operations.

A pass of the C library has a backward pass and no more. Where autograd asks for the graph of the
gradients (`create_graph=True`), a function's backward calls this in place of the library.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradient_graph_is_wanted() -> bool:
    """Returns, inside a backward pass, whether its result will be differentiated."""
    return torch.is_grad_enabled()


def gradients_in_torch(
    function: Callable[..., Tensor], inputs: Sequence[Tensor | None], dy: Tensor
) -> list[Tensor | None]:
    """Returns the gradients of the inputs, None for those without one, with their graph.

    Args:
        function: of the inputs, in torch's operations; its result has the shape of dy.
        inputs: tensors of any shapes, or None.
        dy: the gradient of the result.
    """
    # Other tensors than the inputs: one may have been computed from another.
    own = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
    wanted = [tensor for tensor in own if tensor is not None and tensor.requires_grad]
    y = function(*own)
    found = iter(torch.autograd.grad(y, wanted, dy.to(y.dtype), create_graph=True))
    return [None if one is None or not one.requires_grad else next(found) for one in own]
