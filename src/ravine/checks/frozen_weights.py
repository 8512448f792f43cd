"""Frozen layers whose weights are still those that their constructor drew.

torch draws the weights of linear and convolutional layers evenly from ±1/√(inputs of a unit). A
training moves some beyond that; where none is, and they lie evenly, nothing was loaded.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ravine.checks.context import CheckContext
from ravine.findings.finding import Finding
from ravine.findings.thresholds import DRAWN_EVENLY

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_FEWEST = 64  # weights of a layer


def check_frozen(context: CheckContext) -> Iterator[Finding]:
    """Yields layers that are frozen and hold random weights."""
    steps, parameters = context.measured.steps, list(context.model.parameters())
    moved = {id(parameters[n]) for n in (steps.by_hand if steps else ())}
    frozen = [
        (name, m.weight.detach())
        for name, m in context.model.named_modules()
        if isinstance(m, _LAYERS)
        and not any(p.requires_grad for p in m.parameters(recurse=False))
        and m.weight.numel() >= _FEWEST
        and id(m.weight) not in moved  # a copy that follows another network is none
    ]
    drawn = [name for name, weight in frozen if is_as_drawn(weight)]
    # One layer is a projection that is meant, perhaps.
    if len(drawn) < max(2, len(frozen)):
        return
    yield Finding(
        severity="warning",
        code="frozen-at-random",
        seen=f"{len(drawn)} layers are frozen, and their weights lie evenly within ±1/√(inputs), "
        "as torch draws them for a new layer: "
        + ", ".join(drawn[:3])
        + ("" if len(drawn) <= 3 else ", …"),
        cause="trained weights were not loaded: names did not match (load_state_dict with "
        "strict=False, a prefix such as module.), or they were loaded into another object",
        cure="print what load_state_dict returns, and remove the prefix; load before freezing",
        layer=drawn[0],
        evidence={"layers": float(len(drawn))},
    )


def is_as_drawn(weight: Tensor) -> bool:
    """Returns whether weights (out, in, …) lie evenly within ±1/√(inputs), none beyond.

    By the largest distance of their distribution from the even one (Kolmogorov), at DRAWN_EVENLY.
    """
    bound = 1 / math.sqrt(weight[0].numel())
    flat = weight.double().flatten().sort().values
    if float(flat.abs().max()) > bound * (1 + 1e-5):
        return False
    count = len(flat)
    even = torch.arange(1, count + 1, dtype=torch.float64, device=flat.device) / count
    apart = float(((flat / bound + 1) / 2 - even).abs().max())
    return apart * math.sqrt(count) < DRAWN_EVENLY
