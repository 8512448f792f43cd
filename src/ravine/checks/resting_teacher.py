"""Networks beside the model that a step asks without gradient, in training mode.

A teacher, or a network that makes features or targets, gives others in training mode than those it
was trained to give: dropout draws, and batch norm takes the batch's statistics and moves its own.
Whether that matters is asked: the same inputs in both modes. One whose weights follow the model's
(a mean teacher) or that an optimizer holds has a mode of its own, and is left.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.context import CheckContext
from ravine.core.nested import tensors_in
from ravine.core.preserve_state import preserve_state
from ravine.findings.finding import Finding
from ravine.findings.thresholds import TEACHER_NOISE

_KINDS = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


def find_teacher_at_work(context: CheckContext) -> Iterator[Finding]:
    """Yields a network in training mode whose answers are the step's, and others than its own."""
    for network, args in context.measured.witness.others:
        modes = [part for part in network.modules() if isinstance(part, _KINDS) and part.training]
        apart = _apart(network, args) if modes else 0.0
        if apart > TEACHER_NOISE:
            yield _finding(type(network).__name__, type(modes[0]).__name__, apart)
            return


def _apart(network: nn.Module, args: Any) -> float:
    """Returns the difference of a network's outputs in both modes, over their deviation."""
    with preserve_state(network), torch.no_grad():
        try:
            learning = _floating(network(*args))
            resting = _floating(network.eval()(*args))
        except Exception:  # a network of somebody else, with arguments by name
            return 0.0
    if learning is None or resting is None or learning.shape != resting.shape:
        return 0.0
    spread = float(resting.std())
    return float((learning - resting).square().mean().sqrt()) / spread if spread > 0 else 0.0


def _floating(output: Any) -> Tensor | None:
    found = [t.double() for t in tensors_in(output) if t.is_floating_point() and t.numel() > 1]
    return found[0] if found else None


def _finding(network: str, layer: str, apart: float) -> Finding:
    return Finding(
        severity="warning",
        code="teacher-trained",
        seen=f"the step asks another network ({network}) without gradient, in training mode: its "
        f"outputs differ by {apart:.2g} of their deviation from those in evaluation mode",
        cause=f"eval() was not called on it, or a later train() reached it: its {layer} gives "
        "targets that it was not trained to give, and batch norm's statistics move on",
        cure="call .eval() on it once, outside of what model.train() reaches",
        evidence={"difference": apart},
    )
