"""Weights that no layer is blind for, drawn in place of those that a network begins with.

Branches that begin as 0 hide what stands behind them: a bend, or an input.
"""

import math

import torch
from torch import nn


def draw_weights_(model: nn.Module) -> None:
    """Gives all parameters values that no layer is blind for; the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            drawn = torch.randn(p.shape, generator=generator).to(p)
            taken = math.prod(p.shape[1:])
            p.copy_(drawn / math.sqrt(max(1, taken)) if p.dim() > 1 else 1 + 0.3 * drawn)
