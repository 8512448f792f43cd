"""Whether a trained network's outputs of an example depend on the others of its batch.

At the start a mixture may hardly show: attention along the wrong axis is nearly even there.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ravine.core.nested import batch_size, pick_examples
from ravine.monitor.loop_watch import Call

_FEWEST = 8  # examples


def example_influence(
    model: nn.Module, call: Call, outputs: Callable[[nn.Module, Call], list[Tensor]]
) -> float:
    """Returns how much outputs change when half of the batch is left out, over their deviation.

    0 where the network refuses another number of examples, compares them with each other, or
    normalises by the batch on purpose.

    Args:
        model: in evaluation mode.
        call: arguments that hold a batch.
        outputs: returns the outputs (N, …) of a call.
    """
    size = batch_size(call)
    if size < _FEWEST or any(map(_normalises_by_batch, model.modules())):
        return 0.0
    whole = outputs(model, call)
    try:
        part = outputs(model, pick_examples(call, torch.arange(0, size, 2), size=size))
    except Exception:  # the user's network, on a batch that it was not made for
        return 0.0
    if not whole or not part or whole[0][::2].shape != part[0].shape:
        return 0.0
    spread = float(whole[0].var(0).mean().sqrt())
    if not spread > 1e-3 * float(whole[0].abs().max()):
        return 0.0
    return float((whole[0][::2] - part[0]).square().mean().sqrt()) / spread


def _normalises_by_batch(module: nn.Module) -> bool:
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return is_norm and getattr(module, "running_mean", None) is None
