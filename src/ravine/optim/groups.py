"""Parameter groups: weight decay that spares biases and normalisation."""

from typing import Any

from torch import nn


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Returns two groups: weights with decay, biases and norm parameters without.

    Parameters with less than two dimensions are biases and the scales and shifts of
    normalisation layers. Parameters that need no gradient are left out.
    """
    learned = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in learned if p.dim() > 1]
    spared = [p for p in learned if p.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
