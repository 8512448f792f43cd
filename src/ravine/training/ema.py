"""A moving average of the weights: what is evaluated and kept when `--ema` is given.

Polyak and Juditsky 1992; the decay rises as (1+k)/(10+k) at first, so that the average
does not remember the initial weights.
"""

import copy
from typing import final

import torch
from torch import nn


@final
class Ema:
    """The average of every floating tensor of a model, weights and buffers alike."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, *, applied: torch.Tensor, ok: torch.Tensor) -> None:
        """Moves the average towards the model, unless the step was undone.

        Args:
            model: the model after the step.
            applied: 0-dim tensor, the number of steps that were applied so far.
            ok: 0-dim bool tensor; where False nothing changes.
        """
        rising = (1 + applied) / (10 + applied)
        share = (1 - rising.clamp(max=self.decay)) * ok
        mine, theirs = self.model.state_dict(), model.state_dict()
        for name, value in mine.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], share.to(value.dtype))
            else:
                value.copy_(theirs[name])
