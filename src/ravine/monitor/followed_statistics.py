"""How far batch norms' running statistics have come from where they began to those of a batch.

A norm whose statistics take a thousandth of each batch has come an eighth of the way in 140 steps,
whatever it began with: zeros and ones, or the statistics of other images.
"""

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from ravine.core.preserve_state import preserve_state

_FAR = 0.3  # root mean square way, in deviations of the inputs, below which there is none
_FEWEST = 30  # batches, after which momentum 0.1 has come 96 % of the way
_EXAMPLES = 16

_Statistics = tuple[Tensor, Tensor]


@final
class StartingStatistics:
    """The running mean and variance of each batch norm at the beginning.

    Args:
        model: that is about to be trained on.
    """

    def __init__(self, model: nn.Module) -> None:
        self._began = [
            (m, _statistics(m), int(m.num_batches_tracked))
            for m in model.modules()
            if isinstance(m, nn.modules.batchnorm._BatchNorm)
            and m.running_mean is not None
            and m.num_batches_tracked is not None
        ]

    def followed(self, model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
        """Returns the share of the way, the median of the norms that have one.

        NaN where statistics moved in too few batches, or lay near to those of a batch before.

        Args:
            model: that was trained.
            args: of a batch of training.
            kwargs: of the same, by name.
        """
        moving = [one for one in self._began if _moved(one[0], one[2])]
        if not moving:
            return math.nan
        of_batch: dict[Any, _Statistics] = {}

        def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            flat = inputs[0].detach().transpose(0, 1).flatten(1).float()
            if flat.shape[1] >= _EXAMPLES:
                of_batch[norm] = flat.mean(1), flat.var(1)

        now = [_statistics(m) for m, *_ in moving]
        handles = [m.register_forward_pre_hook(measure) for m, *_ in moving]
        try:
            with preserve_state(model), torch.no_grad():
                model.train()
                model(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        ways = [
            _share(began, at, of_batch[m])
            for (m, began, _), at in zip(moving, now, strict=True)
            if m in of_batch
        ]
        known = sorted(way for way in ways if way == way)
        return known[len(known) // 2] if known else math.nan


def _statistics(norm: Any) -> _Statistics:
    return norm.running_mean.clone(), norm.running_var.clone()


def _moved(norm: Any, began: int) -> bool:
    """Returns whether a norm was in training mode in enough batches."""
    return int(norm.num_batches_tracked) - began >= _FEWEST


def _share(began: _Statistics, now: _Statistics, batch: _Statistics) -> float:
    """Returns the share of the way from the first to the third that the second has come."""
    var = batch[1]
    size, scale = var.clamp_min(1e-12).sqrt(), var.clamp_min(1e-12)
    way, come = (
        torch.cat([(to[0] - began[0]) / size, (to[1] - began[1]) / scale]) for to in (batch, now)
    )
    if not float(way.square().mean().sqrt()) > _FAR:
        return math.nan
    return float((way * come).sum() / way.square().sum())
