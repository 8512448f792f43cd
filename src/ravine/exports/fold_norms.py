"""Folds batch norms into the convolutions before them, in an exported program.

In evaluation mode norm(x ∗ w + b) = x ∗ (s·w) + s·(b − μ) + β with s = γ/√(σ² + ε) per channel
(Jacob et al., "Quantization and training of neural networks", 2018, section 3.2). A norm that
stands before its convolution, behind an activation or a pooling, stays what it is.

Works on graphs of torch.export, whose weights are inputs of the graph by name: the convolution
keeps the name of its weight, and takes over that of the norm's β as its bias.
"""

from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

_CONVOLUTION = torch.ops.aten.conv2d.default
_NORM = torch.ops.aten.batch_norm.default


@torch.no_grad()
def fold_norms_(program: ExportedProgram) -> int:
    """Folds the norms of a program of which each directly follows its convolution, in place.

    Returns:
        The number of norms that were folded.
    """
    values = _Values(program)
    found = 0
    for norm in list(program.graph.nodes):
        if norm.target is _NORM and _fold(norm, values):
            found += 1
    program.graph_module.recompile()
    program.validate()
    return found


class _Values:
    """The parameters and buffers of a program by their nodes."""

    def __init__(self, program: ExportedProgram) -> None:
        signature = program.graph_signature
        self._names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self._state = program.state_dict

    def of(self, node: object) -> Tensor | None:
        """Returns the value of a node, of any shape, that nothing else uses; None for any other."""
        alone = isinstance(node, fx.Node) and len(node.users) == 1 and node.name in self._names
        return self._state.get(self._names[cast("fx.Node", node).name]) if alone else None

    def write(self, node: fx.Node, value: Tensor) -> None:
        """Replaces a value, of any shape, by another of its shape and type."""
        before = self._state[self._names[node.name]]
        after = value.to(before.dtype).contiguous()
        is_parameter = isinstance(before, torch.nn.Parameter)
        self._state[self._names[node.name]] = (
            torch.nn.Parameter(after, requires_grad=False) if is_parameter else after
        )


def _fold(norm: fx.Node, values: _Values) -> bool:
    """Folds one norm; False where it does not directly follow a convolution of its own."""
    before, gamma, beta, mean, variance, training, _, epsilon = norm.args[:8]
    if training or not _is_convolution_of_one(before):
        return False
    arguments: list[Any] = [*before.args]
    has_bias = len(arguments) > 2 and arguments[2] is not None
    biases = [values.of(arguments[2])] if has_bias else []
    found = [values.of(part) for part in (arguments[1], gamma, beta, mean, variance)]
    known = [part.double() for part in (*found, *biases) if part is not None]
    if len(known) < len(found) + len(biases):
        return False
    weight, scale, shift, centre, spread, *bias = known
    scale = scale / (spread + cast("float", epsilon)).sqrt()
    values.write(arguments[1], weight * scale[:, None, None, None])
    values.write(cast("fx.Node", beta), shift - scale * (centre - sum(bias)))
    before.args = (*arguments[:2], beta, *arguments[3:])
    norm.replace_all_uses_with(before)
    norm.graph.erase_node(norm)
    return True


def _is_convolution_of_one(node: object) -> TypeGuard[fx.Node]:
    """Returns whether a node is a convolution that nothing but one node uses."""
    return isinstance(node, fx.Node) and node.target is _CONVOLUTION and len(node.users) == 1
